/**
 * A merge strategy: how a result changes a table, as SQL over two relations. Strategies are pure; the merge program
 * (`write/MergeProgram`) stages the result, executes the SQL and turns it into data files, deletes and one snapshot.
 */
export interface Strategy<Settings = StrategySettings> {
  readonly name: string
  /** Why the settings do not fit, one sentence for each problem; checked before anything runs. */
  readonly problems: (settings: Settings) => ReadonlyArray<string>
  /** Columns that the strategy adds to the result's, in this order at the end. */
  readonly addedColumns: (settings: Settings) => ReadonlyArray<AddedColumn>
  /**
   * Which old rows the result can concern: those that have its values in these columns, every one, or none. `"none"` and columns
   * mean that an empty result changes nothing (a strategy that replaces everything says so by `deletes: "all"`).
   */
  readonly concerns: (settings: Settings) => ReadonlyArray<string> | "all" | "none"
  /** A column whose values in the result lose all their old rows; partitions of such a value go without being read. */
  readonly replaces?: (settings: Settings) => string | null
  readonly plan: (merge: MergeInput<Settings>) => MergePlan
}

export interface AddedColumn {
  readonly name: string
  /** DuckDB's name. */
  readonly type: string
  /** What the result's rows have there before `plan` says otherwise, as SQL; `now` as in `MergeInput`. */
  readonly value: (now: string) => string
}

/** Settings of the pipeline that strategies read. */
export interface StrategySettings {
  /** The merge key; empty when there is none. */
  readonly uniqueKey: ReadonlyArray<string>
  readonly partitionColumn: string | null
  /** append_only: rows whose key the table has already are left out. */
  readonly dedup: boolean
  readonly scdValidFrom: string
  readonly scdValidTo: string
  readonly scdCloseMissing: boolean
}

export interface MergeInput<Settings = StrategySettings> {
  readonly settings: Settings
  /** All columns of the table, `addedColumns` included, in the table's order. */
  readonly columns: ReadonlyArray<string>
  /**
   * The staged result: a relation to stand after `from`, with `columns` in the table's types and `rat_order` (BIGINT, position
   * in the result).
   */
  readonly source: string
  /**
   * The table's live rows, files that cannot match left out: a relation with `columns` and `rat_file` (BIGINT, which file) and
   * `rat_pos` (BIGINT, 0-based row in it). Null when the table has no rows or the strategy is concerned with none.
   */
  readonly target: string | null
  /** One moment for the whole run, as a DuckDB TIMESTAMPTZ literal. */
  readonly now: string
  /** Whether the merge key occurs more than once in the result (NULL = NULL); false when there is no key. */
  readonly hasDuplicateKeys: boolean
}

export interface MergePlan {
  /** Rows to append: a query with `columns` in their order; null for none. `"source"`: the staged result as it is. */
  readonly inserts: string | null
  /** Old rows that go: a query with `rat_file` and `rat_pos`, each pair once; `"all"`: everything; null for none. */
  readonly deletes: string | "all" | null
}
