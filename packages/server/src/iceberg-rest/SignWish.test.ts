import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { signWish } from "./SignWish.ts"

const custom = { bucket: "rat", region: "eu-x-1", endpoint: "http://store:9000" }
const aws = { bucket: "rat", region: "eu-x-1", endpoint: null }

const wish = (
  method: string,
  uri: string,
  headers: Record<string, ReadonlyArray<string>> = {},
  signer: typeof custom | typeof aws = custom,
) => signWish(signer, { region: "eu-x-1", uri, method, headers })

describe("requests to be signed", () => {
  it.each([
    ["GET", "http://store:9000/rat/a/b/c.parquet", "read", "a/b/c.parquet"],
    ["HEAD", "http://store:9000/rat/a/b%20c", "read", "a/b c"],
    ["PUT", "http://store:9000/rat/a/b/c?x-id=PutObject", "write", "a/b/c"],
    ["POST", "http://store:9000/rat/a/b/c?uploads", "write", "a/b/c"],
    ["PUT", "http://store:9000/rat/a/b/c?partNumber=1&uploadId=x", "part", "a/b/c"],
    ["POST", "http://store:9000/rat/a/b/c?uploadId=x", "write", "a/b/c"],
    ["GET", "http://store:9000/rat/?list-type=2&prefix=a%2Fb%2F", "list", "a/b/"],
    // What is checked is what is sent: a path that climbs is understood as S3 would get it.
    ["GET", "http://store:9000/rat/a/../b/c", "read", "b/c"],
    ["GET", "http://store:9000/rat/a/%2e%2e/b/c", "read", "b/c"],
  ])("%s %s is a %s of %s", (method, uri, kind, key) => {
    const found = Result.getOrThrow(wish(method, uri))
    assert.deepStrictEqual([found.kind, found.key], [kind, key])
  })

  it("takes AWS's addresses of the bucket, in the path and in the host, and no others", () => {
    for (const uri of [
      "https://rat.s3.eu-x-1.amazonaws.com/k",
      "https://s3.eu-x-1.amazonaws.com/rat/k",
      "https://rat.s3.amazonaws.com/k",
    ]) {
      assert.strictEqual(Result.getOrThrow(wish("GET", uri, {}, aws)).key, "k")
    }
    for (const uri of [
      "https://rat.s3.eu-x-1.amazonaws.com.evil.com/k",
      "https://other.s3.eu-x-1.amazonaws.com/k",
      "https://s3.us-east-1.amazonaws.com/rat/k",
      "https://rat.other.s3.eu-x-1.amazonaws.com/k",
    ]) {
      assert.isTrue(Result.isFailure(wish("GET", uri, {}, aws)), uri)
    }
  })

  it.each([
    ["DELETE", "http://store:9000/rat/a/b"],
    ["POST", "http://store:9000/rat/?delete"],
    ["POST", "http://store:9000/rat/a/b"],
    ["PATCH", "http://store:9000/rat/a/b"],
    ["GET", "http://store:9000/other/a/b"],
    ["GET", "http://elsewhere:9000/rat/a/b"],
    ["GET", "http://store:9000@elsewhere/rat/a/b"],
    ["GET", "http://store:9000/rat"],
    ["GET", "http://store:9000/rat/"],
    ["GET", "http://store:9000/rat/?list-type=2"],
    ["GET", "http://store:9000/rat/?list-type=2&prefix=a&prefix=b"],
    ["GET", "http://store:9000/rat/?prefix=a&policy"],
    ["PUT", "http://store:9000/rat/a/b?acl"],
    ["PUT", "http://store:9000/rat/a/b?tagging"],
    ["PUT", "http://store:9000/rat/a/b?renameObject"],
    ["GET", "http://store:9000/rat/a/b?acl"],
    ["GET", "ftp://store:9000/rat/a/b"],
    ["GET", "not an address"],
    ["GET", "http://store:9000/rat/%ff"],
  ])("%s %s is refused", (method, uri) => {
    const found = wish(method, uri)
    assert.isTrue(Result.isFailure(found))
  })

  it("refuses headers that change more than bytes, and drops a stranger's authorization", () => {
    for (const name of [
      "x-amz-acl",
      "X-Amz-Grant-Read",
      "x-amz-website-redirect-location",
      "x-amz-bypass-governance-retention",
      "x-amz-tagging",
    ]) {
      assert.isTrue(Result.isFailure(wish("PUT", "http://store:9000/rat/a", { [name]: ["x"] })), name)
    }
    const found = Result.getOrThrow(
      wish("PUT", "http://store:9000/rat/a", { Authorization: ["x"], Host: ["evil"], "x-amz-content-sha256": ["h"] }),
    )
    assert.deepStrictEqual(found.headers, { "x-amz-content-sha256": "h" })
  })

  it("knows where a copy comes from, and refuses other buckets and versions", () => {
    const from = (source: string) => wish("PUT", "http://store:9000/rat/a", { "x-amz-copy-source": [source] })
    assert.strictEqual(Result.getOrThrow(from("/rat/x%2Fy")).copySource, "x/y")
    for (const source of ["/other/x", "other/x", "/rat/x?versionId=1", "%ff"])
      assert.isTrue(Result.isFailure(from(source)))
  })
})
