import { duckTypeOf } from "../engine/TypeMap.ts"
import { type DataFile, type DeleteFile, fileKey } from "../iceberg/DataFile.ts"
import type { Schema } from "../iceberg/TableMetadata.ts"
import { deletedPositions } from "./DeletedPositions.ts"
import type { AppliedDeletes } from "./DeleteIndex.ts"
import { relationOf, type ScannedFiles } from "./Relation.ts"
import { narrowed, type ScanPlan, scannedFiles } from "./ScanPlanner.ts"
import { sharedColumns } from "./SharedColumns.ts"
import { quoteName } from "./SqlText.ts"

type PathOf = (location: string) => string

/** Two states of a table, down to what may differ between them. */
export interface VersionDiff {
  /**
   * What rows are compared by, with the second state's names. `before` and `after` have exactly these; where there are none, rows
   * cannot be compared.
   */
  readonly columns: ReadonlyArray<{ readonly id: number; readonly name: string; readonly type: string }>
  readonly columnsAdded: ReadonlyArray<string>
  readonly columnsRemoved: ReadonlyArray<string>
  /** Data files that both states have with the same deleted rows; they are not read. */
  readonly sameFiles: number
  /** Data files that are read: of one state only, or of both with other deleted rows. */
  readonly readFiles: number
  /** Everything that has to be readable, by `ScanPlanner.localPath`. */
  readonly locations: ReadonlyArray<string>
  /**
   * Rows of the first state, and of the second one, that the other may lack, as SQL; null where there are certainly none. The states
   * differ by exactly what these differ by: rows in both, as often in one as in the other, are the same.
   */
  readonly before: ((pathOf: PathOf) => string) | null
  readonly after: ((pathOf: PathOf) => string) | null
}

const deleteLists = (deletes: AppliedDeletes | undefined): ReadonlyArray<DeleteFile> =>
  deletes === undefined
    ? []
    : [...deletes.positions, ...deletes.equality, ...(deletes.vector === null ? [] : [deletes.vector])]

const deletesKey = (scan: ScannedFiles, file: DataFile) =>
  deleteLists(scan.applied.get(file)).map(fileKey).sort().join("\n")

const hasEquality = (scan: ScannedFiles, file: DataFile) => (scan.applied.get(file)?.equality.length ?? 0) > 0

/**
 * Compares what two plans read, by metadata alone. Of a data file that both states have, only rows that one of them deleted are of
 * interest, wherever positions say which: then of ten million rows with one deleted, one is compared. At most one plan may be null: the
 * table does not exist there.
 */
export const versionDiff = (a: ScanPlan | null, b: ScanPlan | null): VersionDiff => {
  const there = (b ?? a)!
  const shared =
    a === null || b === null
      ? {
          before: there.schema,
          after: there.schema,
          added: a === null ? there.columns.map(({ name }) => name) : [],
          removed: b === null ? there.columns.map(({ name }) => name) : [],
        }
      : sharedColumns(a, b)
  const filesOf = (plan: ScanPlan | null) => new Map(plan?.files.map((file) => [file.filePath, file]))
  const [old, now] = [filesOf(a), filesOf(b)]
  const whole: { readonly a: Set<DataFile>; readonly b: Set<DataFile> } = { a: new Set(), b: new Set() }
  /** Files of both states with other positions deleted. */
  const moved: Array<readonly [old: DataFile, now: DataFile]> = []
  let sameFiles = 0
  for (const [path, file] of old) {
    const other = now.get(path)
    if (other === undefined) {
      whole.a.add(file)
      continue
    }
    const [left, right] = [scannedFiles(a!), scannedFiles(b!)]
    if (deletesKey(left, file) === deletesKey(right, other)) sameFiles++
    else if (hasEquality(left, file) || hasEquality(right, other)) {
      whole.a.add(file)
      whole.b.add(other)
    } else moved.push([file, other])
  }
  for (const [path, file] of now) if (!old.has(path)) whole.b.add(file)

  const locations = new Set<string>()
  const narrow = (plan: ScanPlan | null, wanted: ReadonlySet<DataFile>) => {
    if (plan === null || wanted.size === 0) return null
    const part = narrowed(plan, wanted)
    for (const location of part.locations) locations.add(location)
    return scannedFiles(part)
  }
  const scans = {
    wholeA: narrow(a, whole.a),
    wholeB: narrow(b, whole.b),
    movedA: narrow(a, new Set(moved.map(([file]) => file))),
    movedB: narrow(b, new Set(moved.map(([, file]) => file))),
  }
  const names = shared.after.fields.map(({ name }) => quoteName(name)).join(", ")
  const rowsOf = (scan: ScannedFiles | null, schema: Schema) =>
    scan === null ? [] : [(pathOf: PathOf) => relationOf({ ...scan, schema }, pathOf)]
  /** Live in `live`, deleted in `other`. */
  const lost = (live: ScannedFiles | null, other: ScannedFiles | null, schema: Schema) => {
    if (live === null || other === null) return []
    const others = filesByPath(other)
    if (!live.files.some(({ filePath }) => other.applied.has(others.get(filePath)!))) return []
    return [(pathOf: PathOf) => lostRows(live, other, schema, names, pathOf)]
  }
  const before = [...rowsOf(scans.wholeA, shared.before), ...lost(scans.movedA, scans.movedB, shared.before)]
  const after = [...rowsOf(scans.wholeB, shared.after), ...lost(scans.movedB, scans.movedA, shared.after)]
  const all = (parts: typeof before) =>
    parts.length === 0 ? null : (pathOf: PathOf) => parts.map((part) => `(${part(pathOf)})`).join(" union all ")
  return {
    columns: shared.after.fields.map(({ id, name, type }) => ({ id, name, type: duckTypeOf(type) })),
    columnsAdded: shared.added,
    columnsRemoved: shared.removed,
    sameFiles,
    readFiles: whole.a.size + whole.b.size + moved.length,
    locations: [...locations],
    before: all(before),
    after: all(after),
  }
}

const filesByPath = ({ files }: ScannedFiles) => new Map(files.map((file) => [file.filePath, file]))

const noPositions = "select null::bigint as i, null::bigint as pos where false"

const lostRows = (live: ScannedFiles, other: ScannedFiles, schema: Schema, names: string, pathOf: PathOf): string => {
  const others = filesByPath(other)
  const own = deletedPositions(live.files, live.applied, live.vectors, pathOf) || noPositions
  const foreign =
    deletedPositions(
      live.files.map(({ filePath }) => others.get(filePath)!),
      other.applied,
      other.vectors,
      pathOf,
    ) || noPositions
  const rows = relationOf({ ...live, schema, applied: new Map(), vectors: new Map() }, pathOf, {
    positions: true,
    lineage: false,
  })
  return `select ${names} from (${rows}) as rat_r semi join (select i, pos from (${foreign}) except select i, pos from (${own})) as rat_g on rat_r.rat_file = rat_g.i and rat_r.rat_pos = rat_g.pos`
}
