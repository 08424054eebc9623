/** What a value is, whatever its width. `moment` is the kind of columns that strategies add. */
export type Kind = "int" | "text" | "float" | "decimal" | "date" | "bool" | "moment"

/** A column of the model. Its identity stays when it is renamed or widened, and is never used for another one. */
export interface ModelColumn {
  readonly identity: number
  readonly name: string
  readonly kind: Kind
  readonly isWide: boolean
  /** What rows have that were written before the column was there (v3), as `Row` has it. */
  readonly initial: string | null
  /** Iceberg's field id, once the column is in the table; 0 before. */
  readonly fieldId: number
}

/**
 * Values by identity of their columns, as text in a form that does not depend on the width: midnight without its time, moments in
 * milliseconds, everything else as DuckDB prints it.
 */
export type Row = ReadonlyMap<number, string | null>

/** What somebody reads: rows under the columns of that time. */
export interface Content {
  readonly columns: ReadonlyArray<ModelColumn>
  readonly rows: ReadonlyArray<Row>
}

/** A version of a table, as a ref of the catalog points to it. Immutable. */
export interface ModelVersion extends Content {
  readonly metadataLocation: string
  readonly formatVersion: 2 | 3
  /** Columns (by identity) that the current partitioning (void apart) or sort order reads. */
  readonly partition: ReadonlyArray<{ readonly identity: number; readonly transform: string }>
  readonly sort: ReadonlyArray<number>
  /** Everything that was ever a snapshot of this line of versions. */
  readonly snapshots: ReadonlyMap<bigint, Content>
  readonly parent: ModelVersion | null
  /** `append`: rows were added and nothing else; `replace`: the same rows in other files; `other`: anything else. */
  readonly change: "append" | "replace" | "other"
}

const types: Readonly<Record<Kind, readonly [narrow: string, wide: string]>> = {
  int: ["INTEGER", "BIGINT"],
  text: ["VARCHAR", "VARCHAR"],
  float: ["FLOAT", "DOUBLE"],
  decimal: ["DECIMAL(6,2)", "DECIMAL(10,2)"],
  date: ["DATE", "TIMESTAMP"],
  bool: ["BOOLEAN", "BOOLEAN"],
  moment: ["TIMESTAMP WITH TIME ZONE", "TIMESTAMP WITH TIME ZONE"],
}

export const canWiden = (kind: Kind): boolean => types[kind][0] !== types[kind][1]

export const duckTypeOfColumn = ({ isWide, kind }: Pick<ModelColumn, "kind" | "isWide">): string =>
  types[kind][isWide ? 1 : 0]

export const valueOf = (row: Row, column: ModelColumn): string | null => {
  const value = row.get(column.identity)
  return value === undefined ? column.initial : value
}

const shownValue = (value: string | null, { isWide, kind }: ModelColumn): string | null =>
  value !== null && kind === "date" && isWide && !value.includes(" ") ? `${value} 00:00:00` : value

/** Rows as the table's readers see them: one text each, in an order that does not depend on where they are. */
export const shownRows = ({ columns, rows }: Content): ReadonlyArray<string> =>
  rows.map((row) => JSON.stringify(columns.map((column) => shownValue(valueOf(row, column), column)))).sort()

/** The select list that makes `shownRows` of a relation with the columns. */
export const shownSql = (columns: ReadonlyArray<ModelColumn>): string =>
  columns
    .map(({ kind, name }) => `${kind === "moment" ? `epoch_ms("${name}")` : `"${name}"`}::varchar as "${name}"`)
    .join(", ")

/** Rows without others, each as often as it is there; null when the others are not all among them. */
export const minus = (
  columns: ReadonlyArray<ModelColumn>,
  rows: ReadonlyArray<Row>,
  others: ReadonlyArray<Row>,
): ReadonlyArray<Row> | null => {
  const textOf = (row: Row) => JSON.stringify(columns.map((column) => valueOf(row, column)))
  const counts = new Map<string, number>()
  for (const row of others) counts.set(textOf(row), (counts.get(textOf(row)) ?? 0) + 1)
  const left = rows.filter((row) => {
    const count = counts.get(textOf(row)) ?? 0
    if (count > 0) counts.set(textOf(row), count - 1)
    return count === 0
  })
  return left.length === rows.length - others.length ? left : null
}
