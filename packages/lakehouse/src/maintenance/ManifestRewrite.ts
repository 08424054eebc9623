import { createHash } from "node:crypto"
import { Clock, Effect } from "effect"
import type { DataFile } from "../iceberg/DataFile.ts"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import type { ManifestEntry } from "../iceberg/Manifest.ts"
import { encodeManifestList, hasLiveFiles, type ManifestFile } from "../iceberg/ManifestList.ts"
import { compareSingleValues } from "../iceberg/SingleValue.ts"
import { writeManifest } from "../iceberg/TableCommit.ts"
import type { Snapshot, TableMetadata } from "../iceberg/TableMetadata.ts"
import { ObjectStore } from "../store/ObjectStore.ts"
import type { TableHead } from "./TableHead.ts"

const maxTries = 10
const readsAtOnce = 16
const putsAtOnce = 8
const defaultTargetBytes = 8 * 1024 * 1024
/** Larger than this share of the target a manifest is as it should be. */
const largeEnough = 0.75

const targetOf = (properties: TableMetadata["properties"]): number => {
  const bytes = Number(properties["commit.manifest.target-size-bytes"])
  return Number.isFinite(bytes) && bytes > 0 ? bytes : defaultTargetBytes
}

/** Manifests that are worth writing anew: small ones, where there are many of one content and partition spec. */
export const planManifests = (
  lines: ReadonlyArray<ManifestFile>,
  properties: TableMetadata["properties"],
  minManifests: number,
): ReadonlyArray<ManifestFile> => {
  const target = targetOf(properties)
  const small = lines.filter((line) => hasLiveFiles(line) && line.lengthBytes < target * largeEnough)
  return Array.from(Map.groupBy(small, (line) => `${line.content} ${line.partitionSpecId}`).values()).flatMap(
    (alike) => (alike.length >= Math.max(2, minManifests) ? alike : []),
  )
}

/** Files of one partition side by side, so that a manifest's summary says where it need not be read. */
const byPartition = (left: ManifestEntry, right: ManifestEntry): number => {
  const [a, b] = [left.file.partition, right.file.partition]
  for (let index = 0; index < a.length; index++) {
    const [x, y] = [a[index] ?? null, b[index] ?? null]
    if (x === null || y === null) {
      if (x !== y) return x === null ? -1 : 1
      continue
    }
    const order = compareSingleValues(x, y)
    if (order !== 0) return order
  }
  return left.file.filePath < right.file.filePath ? -1 : 1
}

const chunks = (entries: ReadonlyArray<ManifestEntry>, most: number): ReadonlyArray<ReadonlyArray<ManifestEntry>> =>
  Array.from({ length: Math.ceil(entries.length / most) }, (_, index) =>
    entries.slice(index * most, (index + 1) * most),
  )

/** Groups that may share a manifest; files of a known schema apart, because manifests promise it. */
const alike = ({ file }: ManifestEntry) =>
  file.content === "data" ? `data ${file.specId} ${file.schemaId ?? ""}` : `deletes ${file.specId}`

/**
 * v3 ("First Row ID Inheritance"): entries keep the ids that they have; those of a table from before v3 get some now.
 */
const withRowIds = (metadata: TableMetadata, lines: ReadonlyArray<ManifestFile>, bare: ReadonlyArray<number>) => {
  if (metadata.formatVersion < 3) return { lines, snapshot: {} }
  const firstRowId = metadata.nextRowId ?? 0n
  let next = firstRowId
  const assigned = lines.map((line, index) => {
    if (line.content !== "data" || line.firstRowId !== undefined) return line
    const first = next
    next += BigInt(index < bare.length ? bare[index]! : line.addedRows + line.existingRows)
    return { ...line, firstRowId: first }
  })
  return { lines: assigned, snapshot: { firstRowId, addedRows: next - firstRowId } }
}

const bareRows = (entries: ReadonlyArray<ManifestEntry>): number =>
  entries
    .filter(({ file }) => file.content === "data" && (file as DataFile).firstRowId === undefined)
    .reduce((rows, { file }) => rows + file.recordCount, 0)

/**
 * Writes small manifests anew, clustered by partition and of the target size, as a `replace` snapshot that changes no file. When
 * somebody else commits meanwhile it starts again from theirs. Answers with the numbers of manifests before and after.
 */
export const rewriteManifests = Effect.fn("ManifestRewrite.rewriteManifests")(function* <HE>(options: {
  readonly head: TableHead<HE>
  readonly id: string
  readonly minManifests: number
}) {
  const tables = yield* IcebergTable
  const store = yield* ObjectStore
  const { head, id, minManifests } = options
  const idle = { before: 0, after: 0, changed: false, skipped: false }
  for (let attempt = 0; attempt < maxTries; attempt++) {
    const location = yield* head.current
    if (location === null) return idle
    const metadata = yield* tables.load(location)
    const current = metadata.snapshots.find(({ snapshotId }) => snapshotId === metadata.currentSnapshotId)
    if (current === undefined) return idle
    const lines = (yield* tables.manifests(metadata)).filter(hasLiveFiles)
    const wanted = planManifests(lines, metadata.properties, minManifests)
    if (wanted.length === 0) return idle
    const read = yield* Effect.forEach(wanted, (line) => tables.readManifest(metadata, line), {
      concurrency: readsAtOnce,
    })
    const entries = read
      .flat()
      .flatMap(
        (entry): ReadonlyArray<ManifestEntry> => (entry.status === "deleted" ? [] : [{ ...entry, status: "existing" }]),
      )
    const bytesPerEntry = wanted.reduce((sum, line) => sum + line.lengthBytes, 0) / Math.max(1, read.flat().length)
    const most = Math.max(1, Math.floor(targetOf(metadata.properties) / Math.max(1, bytesPerEntry)))
    const digest = createHash("sha256")
      .update(JSON.stringify([location, id, "manifests"]))
      .digest()
    const snapshotId = (digest.readBigUInt64BE(8) % 999_999_999_999_999n) + 1n
    const sequenceNumber = metadata.lastSequenceNumber + 1n
    const name = `${id}-m-${digest.toString("hex").slice(0, 8)}`
    const folder = `${metadata.location}/metadata`
    const groups = Array.from(Map.groupBy(entries, alike).values()).flatMap((group) =>
      chunks(group.toSorted(byPartition), most),
    )
    const written = groups.map((group, index) =>
      writeManifest(group, metadata, { id: snapshotId, sequenceNumber }, `${folder}/${name}-m${index}.avro`),
    )
    if (written.length >= wanted.length) return idle
    const rewritten = new Set(wanted.map(({ path }) => path))
    const kept = lines.filter(({ path }) => !rewritten.has(path))
    const lineage = withRowIds(metadata, [...written.map(({ line }) => line), ...kept], groups.map(bareRows))
    const manifestList = `${folder}/snap-${snapshotId}-${name}.avro`
    yield* Effect.forEach(
      [
        ...written,
        {
          location: manifestList,
          bytes: encodeManifestList({
            snapshotId,
            parentSnapshotId: current.snapshotId,
            sequenceNumber,
            formatVersion: metadata.formatVersion,
            manifests: lineage.lines,
          }),
        },
      ],
      ({ bytes, location: target }) => store.put(store.keyOf(target), bytes),
      { concurrency: putsAtOnce, discard: true },
    ).pipe(Effect.catchTag("ObjectExists", (error) => Effect.die(error))) // never asked for
    const snapshot: Snapshot = {
      snapshotId,
      parentSnapshotId: current.snapshotId,
      sequenceNumber,
      timestampMs: Math.max(yield* Clock.currentTimeMillis, metadata.lastUpdatedMs),
      manifestList,
      summary: {
        ...Object.fromEntries(Object.entries(current.summary).filter(([key]) => key.startsWith("total-"))),
        operation: "replace",
        "manifests-created": String(written.length),
        "manifests-kept": String(kept.length),
        "manifests-replaced": String(wanted.length),
        "entries-processed": String(entries.length),
        "rat.run-id": id,
      },
      schemaId: metadata.currentSchemaId,
      ...lineage.snapshot,
    }
    const made = yield* tables.commit({
      base: { metadataLocation: location, metadata },
      location: metadata.location,
      runId: `${id}-m`,
      updates: [
        { action: "add-snapshot", snapshot },
        { action: "set-snapshot-ref", refName: "main", snapshotId, type: "branch" },
      ],
      snapshot: null,
    })
    if (yield* head.move(location, made, "Rewriting of manifests")) {
      return { before: lines.length, after: kept.length + written.length, changed: true, skipped: false }
    }
  }
  return { ...idle, skipped: true }
})
