import { type ModelColumn, type Row, valueOf } from "./ModelTable.ts"

/** A strategy's run as the model carries it out. */
export interface ModelMerge {
  readonly strategy: string
  readonly key: ReadonlyArray<ModelColumn>
  readonly partitionColumn: ModelColumn | null
  readonly dedup: boolean
  readonly closesMissing: boolean
  /** Of the table after the run, those that the strategy adds included. */
  readonly columns: ReadonlyArray<ModelColumn>
  /** Milliseconds. */
  readonly now: number
}

const textOf = (row: Row, columns: ReadonlyArray<ModelColumn>) =>
  JSON.stringify(columns.map((column) => valueOf(row, column)))

const byKey = (rows: ReadonlyArray<Row>, key: ReadonlyArray<ModelColumn>, which: "first" | "last") => {
  const found = new Map<string, Row>()
  for (const row of rows) {
    const text = textOf(row, key)
    if (which === "last" || !found.has(text)) found.set(text, row)
  }
  return found
}

/** The table's rows after a run with `source` as its result: what each strategy promises, over plain arrays. */
export const mergeInModel = (merge: ModelMerge, old: ReadonlyArray<Row>, source: ReadonlyArray<Row>): Array<Row> => {
  const { columns, key, now } = merge
  const named = (name: string) => columns.find((column) => column.name === name)!
  const withValue = (row: Row, column: ModelColumn, value: string | null): Row =>
    new Map([...row, [column.identity, value]])
  switch (merge.strategy) {
    case "full_refresh":
      return [...source]
    case "append_only": {
      if (!merge.dedup) return [...old, ...source]
      const known = new Set(old.map((row) => textOf(row, key)))
      return [...old, ...[...byKey(source, key, "first")].flatMap(([text, row]) => (known.has(text) ? [] : [row]))]
    }
    case "incremental": {
      const next = byKey(source, key, "last")
      return [...old.filter((row) => !next.has(textOf(row, key))), ...next.values()]
    }
    case "delete_insert":
    case "snapshot": {
      const by = merge.strategy === "snapshot" ? [merge.partitionColumn!] : key
      const given = new Set(source.map((row) => textOf(row, by)))
      return [...old.filter((row) => !given.has(textOf(row, by))), ...source]
    }
    case "scd2": {
      const [from, to] = [named("valid_from"), named("valid_to")]
      const facts = columns.filter((column) => column !== from && column !== to)
      const next = byKey(source, key, "last")
      const stays = new Set<string>()
      const kept = old.map((row) => {
        if (valueOf(row, to) !== null) return row
        const wanted = next.get(textOf(row, key))
        if (wanted === undefined) return merge.closesMissing ? withValue(row, to, String(now)) : row
        if (textOf(row, facts) !== textOf(wanted, facts)) return withValue(row, to, String(now))
        stays.add(textOf(row, key))
        return row
      })
      const opened = [...next].flatMap(([text, row]) =>
        stays.has(text) ? [] : [withValue(withValue(row, from, String(now)), to, null)],
      )
      return [...kept, ...opened]
    }
    case "soft_delete": {
      const deleted = named("_deleted_at")
      const next = byKey(
        source.map((row) => withValue(row, deleted, null)),
        key,
        "last",
      )
      const stays = new Set<string>()
      const kept = old.flatMap((row) => {
        const text = textOf(row, key)
        const wanted = next.get(text)
        if (wanted === undefined) {
          return valueOf(row, deleted) === null ? [withValue(row, deleted, String(now))] : [row]
        }
        if (textOf(row, columns) !== textOf(wanted, columns)) return []
        stays.add(text)
        return [row]
      })
      return [...kept, ...[...next].flatMap(([text, row]) => (stays.has(text) ? [] : [row]))]
    }
    default:
      throw new RangeError(`no model of ${merge.strategy}`)
  }
}
