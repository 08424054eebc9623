import { createHash } from "node:crypto"
import { ObjectStore, printLosslessJson } from "@rat/lakehouse"
import { Effect } from "effect"
import { HttpServerResponse } from "effect/http"
import { MetadataBytes } from "./MetadataBytes.ts"
import { StoreSigner } from "./RemoteSigning.ts"
import type { RestAnswer, TableAnswer } from "./RestCall.ts"
import { prefixOf } from "./RestRoute.ts"

const json = "application/json"

/** Tags tell versions apart, and the forms in which one version is shown. */
const tagOf = ({ access, metadataLocation, ref, snapshots }: TableAnswer): string =>
  `"${createHash("sha1")
    .update([metadataLocation, ref, snapshots, ...access].join("\n"))
    .digest("base64url")}"`

const isKnown = (header: string | undefined, tag: string): boolean =>
  header !== undefined &&
  (header.trim() === "*" || header.split(",").some((each) => each.trim().replace(/^W\//, "") === tag))

/** Answers as HTTP responses; tables with their metadata file as it is in the store. */
export const makeAnswerResponse = Effect.gen(function* () {
  const metadata = yield* MetadataBytes
  const signer = yield* StoreSigner
  const store = yield* ObjectStore

  /** How a client reaches the table's files. Secrets are never among it: requests to S3 are signed one by one. */
  const accessConfig = ({ access, key, ref }: Pick<TableAnswer, "access" | "key" | "ref">): Record<string, string> => {
    if (signer === null || store.kind === "file") return {}
    const endpoint = `v1/${prefixOf(ref)}/namespaces/${key.namespace}%1F${key.layer}/tables/${key.name}/sign`
    return {
      "s3.region": signer.region,
      "client.region": signer.region,
      ...(signer.endpoint === null ? {} : { "s3.endpoint": signer.endpoint, "s3.path-style-access": "true" }),
      ...(access.includes("remote-signing")
        ? {
            "s3.remote-signing-enabled": "true",
            "s3.signer": "S3V4RestSigner",
            "s3.signer.endpoint": endpoint,
            "signer.endpoint": endpoint,
            // Of PyIceberg's two ways to files, the one that can have its requests signed.
            "py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO",
          }
        : {}),
    }
  }

  const tableResponse = Effect.fnUntraced(function* (table: TableAnswer, ifNoneMatch: string | undefined) {
    const etag = tagOf(table)
    if (isKnown(ifNoneMatch, etag)) return HttpServerResponse.empty({ status: 304, headers: { etag } })
    const bytes = yield* metadata.read(table.metadataLocation, table.snapshots)
    const body = Buffer.concat([
      Buffer.from(`{"metadata-location":${JSON.stringify(table.metadataLocation)},"metadata":`),
      bytes,
      Buffer.from(`,"config":${JSON.stringify(accessConfig(table))}}`),
    ])
    return HttpServerResponse.uint8Array(body, { contentType: json, headers: { etag } })
  })

  return {
    accessConfig,
    of: Effect.fnUntraced(function* (answer: RestAnswer, ifNoneMatch: string | undefined) {
      switch (answer.kind) {
        case "empty":
          return HttpServerResponse.empty({ status: answer.status })
        case "json":
          return HttpServerResponse.text(printLosslessJson(answer.value), { contentType: json })
        case "table":
          return yield* tableResponse(answer.table, ifNoneMatch)
      }
    }),
  }
})
