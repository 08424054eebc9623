/**
 * The Iceberg REST endpoint of a whole server: loading a table, and many writers that append to one table at once. Part of the
 * bench `catalog`.
 */
import { randomUUID } from "node:crypto"
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { encodeManifest, encodeManifestList, parseLosslessJson, printLosslessJson } from "@rat/lakehouse"
import { type BenchOptions, type BenchResult, median, quantile } from "./Bench.ts"
import { type BenchServer, startBenchServer } from "./BenchServer.ts"

/** Snapshots of the table that is loaded: its metadata file has some 60 KB. */
const history = 100
const loads = 1000
const writers = 32
const appendsOfWriter = 10

const schema = {
  type: "struct",
  "schema-id": 0,
  fields: [
    { id: 1, name: "id", required: false, type: "long" },
    { id: 2, name: "name", required: false, type: "string" },
  ],
}

interface Metadata {
  readonly location: string
  readonly "table-uuid": string
  readonly "last-sequence-number": number
  readonly "current-snapshot-id"?: bigint | number | null
}

const write = (location: string, bytes: Uint8Array) => {
  const path = fileURLToPath(location)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, bytes)
}

const none = new Map<number, never>()

/** The commit of a client that appends one file of one row to the table as it last saw it. */
const appendTo = (metadata: Metadata) => {
  const { location } = metadata
  const snapshotId = BigInt(Math.floor(Math.random() * 2 ** 50)) + 1n
  const sequenceNumber = BigInt(metadata["last-sequence-number"]) + 1n
  const parent = metadata["current-snapshot-id"] ?? null
  const manifest = encodeManifest({
    schema: { schemaId: 0, identifierFieldIds: [], fields: schema.fields },
    spec: { specId: 0, fields: [] },
    partitionFields: [],
    formatVersion: 2,
    content: "data",
    entries: [
      {
        status: "added",
        snapshotId,
        sequenceNumber: null,
        fileSequenceNumber: null,
        file: {
          content: "data",
          filePath: `${location}/data/${randomUUID()}.parquet`,
          specId: 0,
          partition: [],
          recordCount: 1,
          fileSizeBytes: 100,
          columnSizes: none,
          valueCounts: none,
          nullValueCounts: none,
          nanValueCounts: none,
          lowerBounds: none,
          upperBounds: none,
        },
      },
    ],
  })
  const path = `${location}/metadata/${randomUUID()}-m0.avro`
  write(path, manifest)
  const manifestList = `${location}/metadata/snap-${snapshotId}.avro`
  const lines = [
    {
      path,
      lengthBytes: manifest.byteLength,
      partitionSpecId: 0,
      content: "data" as const,
      sequenceNumber,
      minSequenceNumber: sequenceNumber,
      addedSnapshotId: snapshotId,
      addedFiles: 1,
      existingFiles: 0,
      deletedFiles: 0,
      addedRows: 1,
      existingRows: 0,
      deletedRows: 0,
      partitions: null,
      keyMetadata: null,
    },
  ]
  // What the list says of older files does not matter here: nothing reads the table's rows.
  write(
    manifestList,
    encodeManifestList({ snapshotId, parentSnapshotId: null, sequenceNumber, formatVersion: 2, manifests: lines }),
  )
  return {
    requirements: [
      { type: "assert-table-uuid", uuid: metadata["table-uuid"] },
      { type: "assert-ref-snapshot-id", ref: "main", "snapshot-id": parent },
    ],
    updates: [
      {
        action: "add-snapshot",
        snapshot: {
          "snapshot-id": snapshotId,
          ...(parent === null ? {} : { "parent-snapshot-id": parent }),
          "sequence-number": sequenceNumber,
          "timestamp-ms": Date.now(),
          "manifest-list": manifestList,
          "schema-id": 0,
          summary: { operation: "append", "added-data-files": "1", "added-records": "1", "added-files-size": "100" },
        },
      },
      { action: "set-snapshot-ref", "ref-name": "main", type: "branch", "snapshot-id": snapshotId },
    ],
  }
}

const tables = "/iceberg/v1/namespaces/default%1Fsilver/tables"

/** Bodies hold 64-bit ids, so they are neither read nor written by `JSON` alone. */
const post = async (server: BenchServer, path: string, body: unknown) => {
  const response = await fetch(server.url + path, { method: "POST", body: printLosslessJson(body) })
  return { status: response.status, body: parseLosslessJson(await response.text()) as { readonly metadata: Metadata } }
}

const newTable = async (server: BenchServer, name: string): Promise<Metadata> => {
  const { body, status } = await post(server, tables, { name, schema })
  if (status !== 200) throw new Error(`the table was not made: ${status} ${JSON.stringify(body)}`)
  return body.metadata
}

/** Milliseconds of single loads, one after the other, on a kept connection. */
const loadTimes = async (server: BenchServer) => {
  let metadata = await newTable(server, "loaded")
  for (let index = 0; index < history; index++) {
    metadata = (await post(server, `${tables}/loaded`, appendTo(metadata))).body.metadata
  }
  const times: Array<number> = []
  for (let index = 0; index < loads; index++) {
    const started = performance.now()
    await (await fetch(`${server.url}${tables}/loaded`)).arrayBuffer()
    times.push(performance.now() - started)
  }
  return times.slice(loads / 10)
}

/** All writers begin with the same view and go on with what their own last commit answered. */
const hotTable = async (server: BenchServer, name: string) => {
  const first = await newTable(server, name)
  let refused = 0
  const started = performance.now()
  const ends = await Promise.all(
    Array.from({ length: writers }, async () => {
      let metadata = first
      for (let index = 0; index < appendsOfWriter; index++) {
        const { body, status } = await post(server, `${tables}/${name}`, appendTo(metadata))
        if (status === 200) metadata = body.metadata
        else refused++
      }
      return performance.now() - started
    }),
  )
  const last = Math.max(...ends)
  const fairness = Math.min(...ends) / last
  return { perSecond: (writers * appendsOfWriter - refused) / (last / 1000), refused, fairness }
}

export const restFigures = async ({ rounds, say }: BenchOptions): Promise<ReadonlyArray<BenchResult>> => {
  const server = await startBenchServer()
  try {
    const times = await loadTimes(server)
    say(`load table: p50 ${median(times).toFixed(2)} ms, p99 ${quantile(times, 0.99).toFixed(2)} ms`)
    const hot: Array<Awaited<ReturnType<typeof hotTable>>> = []
    for (let round = 0; round < rounds; round++) {
      hot.push(await hotTable(server, `hot${round}`))
      const { fairness, perSecond, refused } = hot.at(-1)!
      say(
        `hot table: ${perSecond.toFixed(0)} commits/s, ${refused} refused, first writer done after ${(fairness * 100).toFixed(0)} %`,
      )
    }
    return [
      { name: "load_table_ms_p50", value: median(times), unit: "ms", bar: 3, better: "less" },
      { name: "load_table_ms_p99", value: quantile(times, 0.99), unit: "ms" },
      {
        name: "hot_table_commits_per_s",
        value: median(hot.map(({ perSecond }) => perSecond)),
        unit: "1/s",
        bar: 50,
        better: "more",
      },
      {
        name: "hot_table_refused",
        value: hot.reduce((sum, { refused }) => sum + refused, 0),
        unit: "commits",
        bar: 0,
        better: "less",
      },
    ]
  } finally {
    await server.close()
  }
}
