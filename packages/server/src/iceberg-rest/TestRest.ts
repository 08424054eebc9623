import { randomUUID } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer, request } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeHttpServer } from "@effect/platform-node"
import {
  encodeManifest,
  encodeManifestList,
  FileStore,
  IcebergTable,
  ObjectStore,
  PostgresCatalog,
  parseLosslessJson,
  printLosslessJson,
  ScanPlanner,
  TestPostgres,
} from "@rat/lakehouse"
import { ConfigProvider, Effect, Layer } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import type { NetAddress } from "effect/net"
import { Outbox } from "../event/Outbox.ts"
import { NamespaceRepository } from "../namespace/NamespaceRepository.ts"
import { migrations } from "../sql/migrations.ts"
import { IcebergRestHttp } from "./IcebergRestHttp.ts"
import { StoreSigner } from "./RemoteSigning.ts"

/* The protocol on a real port over a real database and a file store. Test support only. */

const temporaryStore = Layer.unwrap(
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "rat-rest-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true })),
    ),
    (root) => FileStore.layer({ root }),
  ),
)

export const testRest = (settings: Readonly<Record<string, string>> = {}) =>
  HttpRouter.serve(IcebergRestHttp, { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
    Layer.provide(StoreSigner.layer({ dataFolder: tmpdir() })),
    Layer.provideMerge(NamespaceRepository.layer),
    Layer.provideMerge(PostgresCatalog.layer),
    Layer.provideMerge(ScanPlanner.layer.pipe(Layer.provideMerge(IcebergTable.layer))),
    Layer.provideMerge(temporaryStore),
    Layer.provideMerge(Outbox.layer),
    Layer.provideMerge(TestPostgres.layer(migrations)),
    Layer.provide(Layer.succeed(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env: { ...settings } }))),
  )

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** With 64-bit integers as bigint where a number cannot hold them. */
  // biome-ignore lint/suspicious/noExplicitAny: whatever the server says is what the test looks at
  readonly body: any
}

export const baseUrl = Effect.map(
  HttpServer.HttpServer,
  ({ address }) => `http://127.0.0.1:${(address as NetAddress.InetAddress).port}/iceberg`,
)

/** One request, the path behind `/iceberg`. */
export const rest = Effect.fnUntraced(function* (
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
) {
  const url = (yield* baseUrl) + path
  const sent = body === undefined ? undefined : typeof body === "string" ? body : printLosslessJson(body)
  const { hostname, port } = new URL(url)
  // Not `fetch`: it takes `..` out of addresses before anything is sent.
  return yield* Effect.callback<Answer>((resume) => {
    const length = sent === undefined ? {} : { "content-length": String(Buffer.byteLength(sent)) }
    const asked = request(
      { hostname, port, method, path: url.slice(url.indexOf("/iceberg")), headers: { ...headers, ...length } },
      (response) => {
        const chunks: Array<Buffer> = []
        response.on("data", (chunk: Buffer) => chunks.push(chunk))
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString("utf8")
          const isJson = text !== "" && response.headers["content-type"]?.startsWith("application/json")
          resume(
            Effect.succeed({
              status: response.statusCode!,
              headers: new Headers(response.headers as Record<string, string>),
              text,
              body: isJson ? parseLosslessJson(text) : null,
            }),
          )
        })
      },
    )
    asked.on("error", (error) => resume(Effect.die(error)))
    asked.end(sent)
  })
})

export const twoColumns = {
  type: "struct",
  fields: [
    { id: 1, name: "id", required: false, type: "long" },
    { id: 2, name: "name", required: false, type: "string" },
  ],
}

let tables = 0
/** A new table in `default.silver`, of two columns; answers with what `createTable` said. */
export const newTestTable = Effect.fnUntraced(function* (properties: Readonly<Record<string, string>> = {}) {
  const name = `t${tables++}`
  const path = "/v1/namespaces/default%1Fsilver/tables"
  const made = yield* rest("POST", path, { name, schema: twoColumns, properties })
  return { ...made.body, name, path: `${path}/${name}` }
})

const none = new Map<number, never>()

/**
 * The commit of a client that adds one file of `rows` rows (ids from `from` up to `from + rows - 1`) to the table that it loaded as
 * `metadata`: manifest and list are written, the file itself is not, because nothing here reads it.
 */
export const appendCommit = Effect.fnUntraced(function* (
  // biome-ignore lint/suspicious/noExplicitAny: metadata as it came over the wire
  metadata: any,
  options: { readonly rows: number; readonly from?: number; readonly operation?: string; readonly path?: string } = {
    rows: 1,
  },
) {
  const store = yield* ObjectStore
  const iceberg = yield* IcebergTable
  const location: string = metadata.location
  const snapshotId = BigInt(Math.floor(Math.random() * 2 ** 50)) + 2n ** 60n // as large as those of other writers
  const sequenceNumber = BigInt(metadata["last-sequence-number"]) + 1n
  const parent: bigint | number | undefined = metadata["current-snapshot-id"] ?? undefined
  const current = (metadata.snapshots ?? []).find(
    (each: { readonly "snapshot-id": unknown }) => each["snapshot-id"] === parent,
  )
  const from = options.from ?? 0
  const formatVersion: 2 | 3 = metadata["format-version"]
  const nextRowId = BigInt(metadata["next-row-id"] ?? 0)
  const bound = (value: number) => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64LE(BigInt(value))
    return bytes
  }
  const schema = { schemaId: 0, identifierFieldIds: [], fields: twoColumns.fields }
  const manifestPath = `${location}/metadata/${randomUUID()}-m0.avro`
  const manifest = encodeManifest({
    schema,
    spec: { specId: 0, fields: [] },
    partitionFields: [],
    formatVersion,
    content: "data",
    entries: [
      {
        status: "added",
        snapshotId,
        sequenceNumber: null,
        fileSequenceNumber: null,
        file: {
          content: "data",
          filePath: options.path ?? `${location}/data/${randomUUID()}.parquet`,
          specId: 0,
          partition: [],
          recordCount: options.rows,
          fileSizeBytes: 100,
          columnSizes: none,
          valueCounts: new Map([[1, options.rows]]),
          nullValueCounts: new Map([[1, 0]]),
          nanValueCounts: none,
          lowerBounds: new Map([[1, bound(from)]]),
          upperBounds: new Map([[1, bound(from + options.rows - 1)]]),
        },
      },
    ],
  })
  const inherited =
    current === undefined
      ? []
      : yield* iceberg.manifests({
          currentSnapshotId: 1n,
          snapshots: [{ snapshotId: 1n, manifestList: current["manifest-list"] }],
        } as never)
  const list = encodeManifestList({
    snapshotId,
    parentSnapshotId: parent === undefined ? null : BigInt(parent),
    sequenceNumber,
    formatVersion,
    manifests: [
      {
        path: manifestPath,
        lengthBytes: manifest.byteLength,
        partitionSpecId: 0,
        content: "data",
        sequenceNumber,
        minSequenceNumber: sequenceNumber,
        addedSnapshotId: snapshotId,
        addedFiles: 1,
        existingFiles: 0,
        deletedFiles: 0,
        addedRows: options.rows,
        existingRows: 0,
        deletedRows: 0,
        partitions: null,
        keyMetadata: null,
        ...(formatVersion === 3 ? { firstRowId: nextRowId } : {}),
      },
      ...((options.operation ?? "append") === "append" ? inherited : []),
    ],
  })
  const listPath = `${location}/metadata/snap-${snapshotId}.avro`
  yield* Effect.all([store.put(store.keyOf(manifestPath), manifest), store.put(store.keyOf(listPath), list)])
  const total = (name: string, added: number) => String(Number(current?.summary[name] ?? 0) + added)
  return {
    requirements: [
      { type: "assert-table-uuid", uuid: metadata["table-uuid"] },
      { type: "assert-ref-snapshot-id", ref: "main", "snapshot-id": parent ?? null },
    ],
    updates: [
      {
        action: "add-snapshot",
        snapshot: {
          "snapshot-id": snapshotId,
          ...(parent === undefined ? {} : { "parent-snapshot-id": parent }),
          "sequence-number": sequenceNumber,
          "timestamp-ms": Number(metadata["last-updated-ms"]) + 1,
          "manifest-list": listPath,
          "schema-id": 0,
          ...(formatVersion === 3 ? { "first-row-id": nextRowId, "added-rows": options.rows } : {}),
          summary: {
            operation: options.operation ?? "append",
            "added-data-files": "1",
            "added-records": String(options.rows),
            "added-files-size": "100",
            "total-data-files": total("total-data-files", 1),
            "total-records": total("total-records", options.rows),
            "total-files-size": total("total-files-size", 100),
          },
        },
      },
      { action: "set-snapshot-ref", "ref-name": "main", type: "branch", "snapshot-id": snapshotId },
    ],
    snapshotId,
  }
})
