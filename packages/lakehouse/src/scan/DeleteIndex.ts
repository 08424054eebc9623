import type { DataFile, DeleteFile } from "../iceberg/DataFile.ts"
import type { PartitionSpec } from "../iceberg/TableMetadata.ts"

/** Field id of `file_path` in position delete files (Iceberg spec, "Reserved Field IDs"). */
const filePathId = 2_147_483_546

/** The delete files that concern one data file. */
export interface AppliedDeletes {
  /** Position delete files that may name the data file; empty when it has a deletion vector. */
  readonly positions: ReadonlyArray<DeleteFile>
  readonly vector: DeleteFile | null
  readonly equality: ReadonlyArray<DeleteFile>
}

/** A text that equals another one exactly when partition spec and values are equal. */
export const partitionKey = (file: Pick<DataFile, "specId" | "partition">): string =>
  `${file.specId}|${file.partition
    .map((value) =>
      value === null
        ? "n"
        : value instanceof Uint8Array
          ? `b${Buffer.from(value).toString("hex")}`
          : Object.is(value, -0)
            ? "number0"
            : `${typeof value}${JSON.stringify(String(value))}`,
    )
    .join(",")}`

const textOf = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : Buffer.from(bytes).toString("utf8")

/** Orders as bounds of strings do. */
const isAfter = (left: string, right: string) => Buffer.compare(Buffer.from(left), Buffer.from(right)) > 0

interface PositionDeletes {
  readonly file: DeleteFile
  readonly sequenceNumber: bigint
  readonly lower: string | undefined
  readonly upper: string | undefined
}

/** Files with these bounds may name the path; equal bounds are whole paths, others may have been shortened. */
const mayName = ({ lower, upper }: PositionDeletes, path: string): boolean =>
  (lower === undefined || !isAfter(lower, path)) && (upper === undefined || !isAfter(path, upper))

const sequenceOf = (file: DataFile | DeleteFile): bigint => file.sequenceNumber ?? 0n

const grouped = <A>(items: ReadonlyArray<A>, keyOf: (item: A) => string): ReadonlyMap<string, ReadonlyArray<A>> =>
  Map.groupBy(items, keyOf)

/**
 * Which deletes concern which data files (Iceberg spec, "Scan Planning"): a deletion vector its one file; position deletes
 * the files of their partition that are not newer, bounds of `file_path` narrowing it; equality deletes the older files of
 * their partition, or of the whole table when their spec is unpartitioned. Files without deletes are not in the answer.
 */
export const applyDeletes = (
  specs: ReadonlyArray<PartitionSpec>,
  data: ReadonlyArray<DataFile>,
  deletes: ReadonlyArray<DeleteFile>,
): ReadonlyMap<DataFile, AppliedDeletes> => {
  const applied = new Map<DataFile, AppliedDeletes>()
  if (deletes.length === 0) return applied
  const vectors = new Map<string, DeleteFile>()
  const onePath: Array<PositionDeletes & { readonly path: string }> = []
  const manyPaths: Array<PositionDeletes> = []
  const global: Array<DeleteFile> = []
  const partitioned: Array<DeleteFile> = []
  const isUnpartitioned = new Set(specs.filter(({ fields }) => fields.length === 0).map(({ specId }) => specId))
  for (const file of deletes) {
    if (file.content === "equality-deletes") {
      if (isUnpartitioned.has(file.specId)) global.push(file)
      else partitioned.push(file)
      continue
    }
    if (file.format === "puffin") {
      const path = file.referencedDataFile ?? ""
      const other = vectors.get(path)
      // Only one may be live; of two (a broken writer) the newer one holds the positions of the older.
      if (other === undefined || sequenceOf(other) < sequenceOf(file)) vectors.set(path, file)
      continue
    }
    const lower = textOf(file.lowerBounds.get(filePathId))
    const upper = textOf(file.upperBounds.get(filePathId))
    const entry: PositionDeletes = { file, sequenceNumber: sequenceOf(file), lower, upper }
    const path = file.referencedDataFile ?? (lower !== undefined && lower === upper ? lower : undefined)
    if (path === undefined) manyPaths.push(entry)
    else onePath.push({ ...entry, path })
  }
  const byPath = grouped(onePath, ({ path }) => path)
  const byPartition = grouped(manyPaths, ({ file }) => partitionKey(file))
  const equalityByPartition = grouped(partitioned, partitionKey)
  for (const file of data) {
    const sequence = sequenceOf(file)
    const key = partitionKey(file)
    const vector = vectors.get(file.filePath) ?? null
    const hasVector = vector !== null && sequenceOf(vector) >= sequence
    const named = byPath.get(file.filePath) ?? []
    const shared = byPartition.get(key)?.filter((entry) => mayName(entry, file.filePath)) ?? []
    const positions = hasVector
      ? []
      : [...named, ...shared].filter((entry) => entry.sequenceNumber >= sequence).map((entry) => entry.file)
    const equality = [...global, ...(equalityByPartition.get(key) ?? [])].filter(
      (entry) => sequenceOf(entry) > sequence,
    )
    if (hasVector || positions.length > 0 || equality.length > 0) {
      applied.set(file, { positions, vector: hasVector ? vector : null, equality })
    }
  }
  return applied
}
