import type { S3Signer } from "@rat/lakehouse"
import { Result } from "effect"
import { type RestFailure, refuse } from "./RestFailure.ts"

/** A request to the object store that somebody wants signed, understood: what it would do to which object. */
export interface SignWish {
  /** `part`: a piece of an upload that was begun with `write`, and its end. */
  readonly kind: "read" | "list" | "write" | "part"
  readonly method: string
  /** Normalised: what was checked is what is signed and sent. */
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  /** Decoded key of the object, or the prefix of a listing. */
  readonly key: string
  readonly copySource: string | null
}

const no = (reason: string): Result.Result<never, RestFailure> =>
  Result.fail(refuse("ForbiddenException", `The request is not signed: ${reason}.`))

/** Query parameters that say nothing but which object and how to send it. Others change settings, versions, permissions. */
const parameters: Readonly<Record<string, ReadonlySet<string>>> = {
  GET: new Set(["x-id", "partNumber", "versionId", "uploadId"]),
  HEAD: new Set(["x-id", "partNumber", "versionId"]),
  PUT: new Set(["x-id", "partNumber", "uploadId"]),
  POST: new Set(["x-id", "uploads", "uploadId"]),
}

const listParameters = new Set([
  "x-id",
  "list-type",
  "prefix",
  "delimiter",
  "max-keys",
  "continuation-token",
  "start-after",
  "encoding-type",
  "fetch-owner",
])

const allowedHeader =
  /^x-amz-(content-sha256|date|sdk-checksum-algorithm|checksum-.*|trailer|decoded-content-length|user-agent|storage-class|server-side-encryption.*|meta-.*|copy-source(-.*)?|expected-bucket-owner|request-payer|te)$/

/** What signing adds itself, or must not be taken over from a stranger. */
const dropped = new Set(["authorization", "host", "x-amz-security-token", "x-amz-date"])

const decode = (text: string): string | null => {
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}

/** Bucket and path behind it; null for another host or bucket. */
const pathInBucket = (signer: Pick<S3Signer, "bucket" | "endpoint" | "region">, url: URL): string | null => {
  const { bucket, endpoint, region } = signer
  const inPath = (): string | null => {
    const [, first, ...rest] = url.pathname.split("/")
    return first === bucket ? rest.join("/") : null
  }
  if (endpoint !== null) return url.host === new URL(endpoint).host ? inPath() : null
  const hosts = [
    "s3.amazonaws.com",
    `s3.${region}.amazonaws.com`,
    `s3-${region}.amazonaws.com`,
    `s3.dualstack.${region}.amazonaws.com`,
  ]
  if (hosts.includes(url.host)) return inPath()
  return hosts.some((host) => url.host === `${bucket}.${host}`) ? url.pathname.slice(1) : null
}

const copySourceOf = (bucket: string, header: string | undefined): Result.Result<string | null, RestFailure> => {
  if (header === undefined) return Result.succeed(null)
  const [path, version] = header.replace(/^\//, "").split("?", 2)
  const decoded = version === undefined || version === "" ? decode(path ?? "") : null
  return decoded?.startsWith(`${bucket}/`)
    ? Result.succeed(decoded.slice(bucket.length + 1))
    : no("it copies from another bucket")
}

export const signWish = (
  signer: Pick<S3Signer, "bucket" | "endpoint" | "region">,
  request: {
    readonly region: string
    readonly uri: string
    readonly method: string
    readonly headers: Readonly<Record<string, ReadonlyArray<string>>>
  },
): Result.Result<SignWish, RestFailure> => {
  const method = request.method.toUpperCase()
  const allowed = parameters[method]
  if (allowed === undefined)
    return no(`${method.slice(0, 20)} is not possible; objects are removed by this server's maintenance`)
  if (request.region !== signer.region) return no(`the store is in the region ${signer.region}`)
  const url = URL.canParse(request.uri) ? new URL(request.uri) : null
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== "" || url.hash !== "")
    return no("its uri is no address")
  const path = pathInBucket(signer, url)
  if (path === null) return no("it goes to another server or bucket")
  const headers: Record<string, string> = {}
  for (const [name, values] of Object.entries(request.headers)) {
    const lower = name.toLowerCase()
    if (dropped.has(lower)) continue
    if (lower.startsWith("x-amz-") && !allowedHeader.test(lower))
      return no(`the header ${lower.slice(0, 60)} is not possible`)
    headers[lower] = values.join(", ")
  }
  const names = [...url.searchParams.keys()]
  if (path === "") {
    const prefix = url.searchParams.getAll("prefix")
    const isListing = method === "GET" && prefix.length === 1 && names.every((name) => listParameters.has(name))
    if (!isListing) return no("only listings with a prefix are possible on a bucket")
    return Result.succeed({ kind: "list", method, url, headers, key: prefix[0]!, copySource: null })
  }
  const strange = names.find((name) => !allowed.has(name))
  if (strange !== undefined) return no(`the parameter ${strange.slice(0, 60)} is not possible`)
  const key = decode(path)
  if (key === null) return no("its path has broken escapes")
  const isPart = url.searchParams.has("uploadId")
  if (method === "POST" && !isPart && !url.searchParams.has("uploads"))
    return no("POST begins or ends an upload, and this does neither")
  const kind = method === "GET" || method === "HEAD" ? "read" : isPart && method === "PUT" ? "part" : "write"
  return Result.map(copySourceOf(signer.bucket, headers["x-amz-copy-source"]), (copySource) => ({
    kind,
    method,
    url,
    headers,
    key,
    copySource,
  }))
}
