import { mkdtemp, rm } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Redacted } from "effect"
import { connect } from "./S3Connection.ts"
import { sweepUploads } from "./S3Uploads.ts"

interface Upload {
  readonly key: string
  readonly initiated: Date
  /** When its newest part came. */
  readonly part: Date | null
}

/** The three answers of the protocol that matter here; the S3 server of the other tests does not list uploads. */
const server = (uploads: Map<string, Upload>) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const answers = createServer((request, response) => {
        const url = new URL(request.url!, "http://localhost")
        const id = url.searchParams.get("uploadId")
        const xml = (body: string) => response.setHeader("content-type", "application/xml").end(body)
        if (url.searchParams.has("uploads")) {
          const listed = Array.from(
            uploads,
            ([uploadId, { key, initiated }]) =>
              `<Upload><Key>${key}</Key><UploadId>${uploadId}</UploadId><Initiated>${initiated.toISOString()}</Initiated></Upload>`,
          )
          return xml(`<ListMultipartUploadsResult>${listed.join("")}</ListMultipartUploadsResult>`)
        }
        const upload = uploads.get(id ?? "")
        if (upload === undefined) {
          response.statusCode = 404
          return xml("<Error><Code>NoSuchUpload</Code><Message>gone</Message></Error>")
        }
        if (request.method === "DELETE") {
          uploads.delete(id!)
          response.statusCode = 204
          return response.end()
        }
        const part =
          upload.part === null
            ? ""
            : `<Part><PartNumber>1</PartNumber><LastModified>${upload.part.toISOString()}</LastModified><ETag>"e"</ETag><Size>1</Size></Part>`
        return xml(`<ListPartsResult><IsTruncated>false</IsTruncated>${part}</ListPartsResult>`)
      })
      await new Promise<void>((resolve) => answers.listen(0, "127.0.0.1", resolve))
      return answers
    }),
    (answers) => Effect.sync(() => answers.close()),
  )

const temporary = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "rat-uploads-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true })),
)

describe("Uploads of processes that are gone", () => {
  it.live("are ended when nothing came for a while; those that somebody works on stay", () =>
    Effect.gen(function* () {
      const ago = (minutes: number) => new Date(Date.now() - minutes * 60_000)
      const uploads = new Map<string, Upload>([
        ["begun-only", { key: "warehouse/a.parquet", initiated: ago(30), part: null }],
        ["stalled", { key: "warehouse/b.parquet", initiated: ago(30), part: ago(20) }],
        ["slow", { key: "warehouse/c.parquet", initiated: ago(30), part: ago(1) }],
        ["new", { key: "warehouse/d.parquet", initiated: ago(1), part: null }],
      ])
      const { port } = (yield* server(uploads)).address() as AddressInfo
      const s3 = yield* connect({
        endpoint: `http://127.0.0.1:${port}`,
        region: "us-east-1",
        bucket: "uploads",
        credentials: { accessKey: Redacted.make("test"), secretKey: Redacted.make("test") },
        timeouts: { metadata: Duration.seconds(5), data: Duration.seconds(5) },
        cache: { folder: yield* temporary, maxBytes: 2 ** 20 },
      })
      assert.strictEqual(yield* sweepUploads(s3, Duration.minutes(10)), 2)
      assert.deepStrictEqual([...uploads.keys()], ["slow", "new"])
      assert.strictEqual(yield* sweepUploads(s3, Duration.minutes(10)), 0)
    }).pipe(Effect.scoped),
  )
})
