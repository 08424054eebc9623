import { join } from "node:path"
import { Effect } from "effect"
import { type DataFile, type DeleteFile, fileKey } from "../iceberg/DataFile.ts"
import { encodeDeletionVector } from "../iceberg/DeletionVector.ts"
import { encodePuffin } from "../iceberg/Puffin.ts"
import type { Schema } from "../iceberg/TableMetadata.ts"
import { deletedPositions } from "../scan/DeletedPositions.ts"
import type { AppliedDeletes } from "../scan/DeleteIndex.ts"
import { quotePath, quoteText } from "../scan/SqlText.ts"
import { ObjectStore } from "../store/ObjectStore.ts"
import { copySql } from "./CopySql.ts"
import type { CopyRow } from "./CopyStats.ts"
import { Engine } from "./Engine.ts"
import { deleteFold, filesToFold } from "./Fold.ts"

/** Position deletes of some data files, still to be written. */
export interface NewDeletes {
  /** The files that `positions` counts. */
  readonly files: ReadonlyArray<DataFile>
  /** Indexes into `files` whose rows are deleted, with how many are. */
  readonly counts: ReadonlyMap<number, number>
  /** A query with `rat_file` and `rat_pos`; other files may be in it. */
  readonly positions: string
  readonly applied: ReadonlyMap<DataFile, AppliedDeletes>
  readonly vectors: ReadonlyMap<string, string>
  readonly pathOf: (location: string) => string
  /** Names files in the engine's folder. */
  readonly name: string
  /** Names the files in the store; the number makes them different. */
  readonly locationOf: (kind: string, extension: string) => string
}

export interface WrittenDeletes {
  readonly added: ReadonlyArray<DeleteFile>
  /** `fileKey`s of delete files whose positions are in the added ones now. */
  readonly removed: ReadonlySet<string>
}

/** Columns of position delete files (Iceberg spec, "Position Delete Files", "Reserved Field IDs"). */
const deleteSchema: Schema = {
  schemaId: 0,
  identifierFieldIds: [],
  fields: [
    { id: 2_147_483_546, name: "file_path", required: true, type: "string" },
    { id: 2_147_483_545, name: "pos", required: true, type: "long" },
  ],
}
const [filePathId, posId] = deleteSchema.fields.map(({ id }) => id) as [number, number]

const noStatistics = {
  columnSizes: new Map<number, number>(),
  valueCounts: new Map<number, number>(),
  nullValueCounts: new Map<number, number>(),
  nanValueCounts: new Map<number, number>(),
  lowerBounds: new Map<number, Uint8Array>(),
  upperBounds: new Map<number, Uint8Array>(),
}

const list = (items: Iterable<string | number>): string => `[${[...items].join(", ")}]`

/**
 * Position deletes as Parquet files (v2), one for each data file: when the data file goes, its deletes go with it, and the counts of
 * what is deleted stay right, which they do not where a list names files of which some are gone. Small lists that earlier commits
 * left for a data file go into its new one.
 */
export const writePositionDeletes = Effect.fn("DeleteFiles.positions")(function* <E>(
  request: NewDeletes,
  old: {
    readonly deletes: ReadonlyArray<DeleteFile>
    readonly readable: (locations: ReadonlyArray<string>) => Effect.Effect<(location: string) => string, E>
  } | null,
) {
  const engine = yield* Engine
  const store = yield* ObjectStore
  const { counts, files } = request
  const added: Array<DeleteFile> = []
  const removed = new Set<string>()
  const lists = Map.groupBy(
    (old?.deletes ?? []).filter((file) => file.content === "position-deletes" && file.format === "parquet"),
    ({ referencedDataFile }) => referencedDataFile,
  )
  for (const [index, rows] of counts) {
    const file = files[index]!
    // A position takes about a byte in a file of many.
    const folded = filesToFold(lists.get(file.filePath) ?? [], rows + 1024, deleteFold)
    let positions = `select rat_pos as pos from (${request.positions}) where rat_file = ${index}`
    if (folded.length > 0 && old !== null) {
      const pathOf = yield* old.readable(folded.map(({ filePath }) => filePath))
      const sources = folded.map(({ filePath }) => quotePath(pathOf(filePath)))
      // Two files may hold a position twice (of other writers): once is enough.
      positions = `${positions} union select pos from read_parquet(${list(sources)}, hive_partitioning = false) where file_path = ${quoteText(file.filePath)}`
    }
    const location = request.locationOf("deletes", "parquet")
    const localPath = join(engine.outFolder, `${request.name}-${added.length}.parquet`)
    const [row] = yield* engine.run(
      copySql({
        query: `select ${quoteText(file.filePath)} as file_path, pos from (${positions}) order by pos`,
        target: localPath,
        schema: deleteSchema,
      }),
    )
    added.push(deleteFileOf(row!, location, file))
    for (const each of folded) removed.add(fileKey(each))
    yield* engine.written(location, localPath)
    yield* store.putFile(store.keyOf(location), localPath)
  }
  return { added, removed } satisfies WrittenDeletes as WrittenDeletes
})

const deleteFileOf = (row: CopyRow, filePath: string, of: DataFile): DeleteFile => {
  const recordCount = Number(row.count)
  // The whole path: readers compare it with paths of data files, and open the list for those within its bounds.
  const path = () => new Map([[filePathId, new Uint8Array(Buffer.from(of.filePath))]])
  const both = (value: number) => new Map([filePathId, posId].map((id) => [id, value]))
  return {
    ...noStatistics,
    content: "position-deletes",
    format: "parquet",
    filePath,
    specId: of.specId,
    partition: of.partition,
    recordCount,
    fileSizeBytes: Number(row.file_size_bytes),
    valueCounts: both(recordCount),
    nullValueCounts: both(0),
    lowerBounds: path(),
    upperBounds: path(),
    referencedDataFile: of.filePath,
  }
}

/** Rows of a list that one answer of the engine holds: bounds what goes through this process at once. */
const blockBits = 20

/**
 * Deletion vectors (v3), all of them in one Puffin file. The vector of a data file holds what was deleted from it before, by a
 * vector or by lists of positions: readers look at nothing else once there is a vector.
 */
export const writeDeletionVectors = Effect.fn("DeleteFiles.vectors")(function* (request: NewDeletes) {
  const engine = yield* Engine
  const store = yield* ObjectStore
  const { applied, counts, files, pathOf, vectors } = request
  const location = request.locationOf("deletes", "puffin")
  const removed = new Set<string>()
  const blobs: Array<{ readonly index: number; readonly bytes: Uint8Array; readonly cardinality: number }> = []
  for (const index of counts.keys()) {
    const file = files[index]!
    const before = applied.get(file)
    const old = before === undefined ? "" : deletedPositions([file], new Map([[file, before]]), vectors, pathOf)
    if (before !== undefined && before.vector !== null) removed.add(fileKey(before.vector))
    for (const each of before?.positions ?? []) {
      if (each.referencedDataFile === file.filePath) removed.add(fileKey(each))
    }
    const fresh = `select rat_pos as pos from (${request.positions}) where rat_file = ${index}`
    const all = old === "" ? fresh : `select pos from (${fresh}) union select pos::bigint as pos from (${old})`
    const blocks = yield* engine.run(
      `select pos >> ${blockBits} as block, list(pos::double order by pos) as positions from (${all}) group by 1 order by 1`,
    )
    const pieces = blocks.map((block) => numbersOf(block.positions))
    const positions = new Float64Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
    let at = 0
    for (const piece of pieces) {
      positions.set(piece, at)
      at += piece.length
    }
    blobs.push({ index, bytes: encodeDeletionVector(positions), cardinality: positions.length })
  }
  const puffin = encodePuffin(
    blobs.map(({ bytes, cardinality, index }) => ({ bytes, cardinality, referencedDataFile: files[index]!.filePath })),
  )
  // The name is new for each attempt, so nothing can be in its place.
  yield* store
    .put(store.keyOf(location), puffin.bytes)
    .pipe(Effect.catchTag("ObjectExists", (error) => Effect.die(error)))
  const added = blobs.map(({ cardinality, index }, at): DeleteFile => {
    const { filePath, partition, specId } = files[index]!
    return {
      ...noStatistics,
      content: "position-deletes",
      format: "puffin",
      filePath: location,
      specId,
      partition,
      recordCount: cardinality,
      fileSizeBytes: puffin.bytes.length,
      referencedDataFile: filePath,
      ...puffin.places[at]!,
    }
  })
  return { added, removed } satisfies WrittenDeletes as WrittenDeletes
})

const numbersOf = (list: unknown): ReadonlyArray<number> =>
  (Array.isArray(list) ? list : (list as { readonly items: ReadonlyArray<number> }).items).map(Number)
