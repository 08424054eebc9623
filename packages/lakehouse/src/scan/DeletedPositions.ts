import type { DataFile, DeleteFile } from "../iceberg/DataFile.ts"
import { fileKey } from "../iceberg/DataFile.ts"
import type { AppliedDeletes } from "./DeleteIndex.ts"
import { quotePath, quoteText } from "./SqlText.ts"
import { vectorsLocation } from "./VectorFile.ts"

type PathOf = (location: string) => string

const readDeletes = (paths: ReadonlyArray<string>): string =>
  `read_parquet([${paths.map(quotePath).join(", ")}], hive_partitioning = false)`

const values = (rows: ReadonlyArray<ReadonlyArray<string | number | bigint>>): string =>
  rows.map((row) => `(${row.join(", ")})`).join(", ")

/**
 * The deleted positions of some data files as a query with `i` (BIGINT, which of the files) and `pos` (BIGINT); a pair may
 * come several times. `vectors`: location of the derived file of each deletion vector, by the vector's `fileKey`.
 */
export const deletedPositions = (
  files: ReadonlyArray<DataFile>,
  applied: ReadonlyMap<DataFile, AppliedDeletes>,
  vectors: ReadonlyMap<string, string>,
  pathOf: PathOf,
): string => {
  const parts: Array<string> = []
  const lists = new Set<DeleteFile>()
  const named: Array<readonly [index: number, file: DataFile]> = []
  const vectorOf: Array<readonly [index: number, vector: DeleteFile]> = []
  for (const [index, file] of files.entries()) {
    const deletes = applied.get(file)
    if (deletes === undefined) continue
    for (const list of deletes.positions) lists.add(list)
    if (deletes.positions.length > 0) named.push([index, file])
    if (deletes.vector !== null) vectorOf.push([index, deletes.vector])
  }
  if (lists.size > 0) parts.push(listedPositions([...lists], named, pathOf))
  const derived = Map.groupBy(vectorOf, ([, vector]) => vectors.get(fileKey(vector))!)
  for (const [location, members] of derived) {
    const source = readDeletes([pathOf(location)])
    const offsets = values(members.map(([index, vector]) => [vector.contentOffset ?? 0, index]))
    parts.push(
      `select m.i::bigint as i, pos::bigint as pos from ${source} join (values ${offsets}) as m(o, i) on vector = m.o`,
    )
  }
  return parts.join(" union all ")
}

/** Rows of position delete files, by the locations in them. A list says nothing of files that are newer than it. */
const listedPositions = (
  lists: ReadonlyArray<DeleteFile>,
  named: ReadonlyArray<readonly [index: number, file: DataFile]>,
  pathOf: PathOf,
): string => {
  const source = readDeletes(lists.map(({ filePath }) => pathOf(filePath)))
  const sequence = (file: DataFile | DeleteFile) => file.sequenceNumber ?? 0n
  const hasNewer = named.some(([, file]) => lists.some((list) => sequence(list) < sequence(file)))
  const [only] = named
  if (named.length === 1 && only !== undefined && !hasNewer)
    return `select ${only[0]}::bigint as i, pos from ${source} where file_path = ${quoteText(only[1].filePath)}`
  const members = values(named.map(([index, file]) => [index, quoteText(file.filePath), sequence(file)]))
  const files = `(values ${members}) as m(i, path, seq) on file_path = m.path`
  if (!hasNewer) return `select m.i::bigint as i, pos from ${source} join ${files}`
  const sequences = values(lists.map((list, index) => [index, sequence(list)]))
  return `select m.i::bigint as i, pos from (select file_path, pos, file_index as list from ${source}) join (values ${sequences}) as s(list, seq) using (list) join ${files} and m.seq <= s.seq`
}

/** Location of the derived file of each deletion vector that is applied, by the vector's `fileKey`. */
export const derivedVectors = (applied: ReadonlyMap<DataFile, AppliedDeletes>): ReadonlyMap<string, string> => {
  const vectors = Array.from(applied.values(), ({ vector }) => vector).filter((vector) => vector !== null)
  const locations = new Map<string, string>()
  for (const [puffin, members] of Map.groupBy(vectors, ({ filePath }) => filePath)) {
    const location = vectorsLocation(
      puffin,
      members.map((vector) => ({
        contentOffset: vector.contentOffset ?? 0,
        contentSizeBytes: vector.contentSizeBytes ?? vector.fileSizeBytes,
      })),
    )
    for (const vector of members) locations.set(fileKey(vector), location)
  }
  return locations
}
