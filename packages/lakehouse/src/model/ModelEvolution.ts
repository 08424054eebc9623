import type { Kind, ModelColumn, ModelVersion } from "./ModelTable.ts"

/** A column of a result. */
export interface ResultColumn {
  readonly name: string
  readonly kind: Kind
  readonly isWide: boolean
}

export interface ModelDefault {
  readonly kind: Kind
  readonly json: unknown
  /** As `Row` has it. */
  readonly value: string
}

export interface ModelEvolution {
  readonly replaces: boolean
  readonly result: ReadonlyArray<ResultColumn>
  /** Names of columns that the strategy adds. */
  readonly added: ReadonlyArray<string>
  readonly onChange: "evolve" | "fail" | "ignore"
  readonly allowDestructive: boolean
  readonly rename: { readonly from: string; readonly to: string } | null
  readonly defaults: ReadonlyMap<string, ModelDefault>
  readonly formatVersion: 2 | 3 | null
}

export interface Evolved {
  readonly columns: ReadonlyArray<ModelColumn>
  readonly formatVersion: 2 | 3
}

/** The table's columns after a run; null when the run is refused. `fresh` makes identities. */
export const evolveInModel = (base: ModelVersion | null, wish: ModelEvolution, fresh: () => number): Evolved | null => {
  const formatVersion = wish.formatVersion ?? base?.formatVersion ?? 2
  if (base !== null && formatVersion < base.formatVersion) return null
  const all = [...wish.result, ...wish.added.map((name): ResultColumn => ({ name, kind: "moment", isWide: false }))]
  const table = base?.columns ?? []
  const pinned = new Set([
    ...(base?.partition ?? []).flatMap(({ identity, transform }) => (transform === "void" ? [] : [identity])),
    ...(base?.sort ?? []),
  ])
  const has = (columns: ReadonlyArray<{ readonly name: string }>, name: string) =>
    columns.some((column) => column.name === name)
  const { rename } = wish
  const isRenamed =
    rename !== null &&
    has(table, rename.from) &&
    !has(table, rename.to) &&
    has(all, rename.to) &&
    !has(all, rename.from)
  const nameNow = ({ name }: ModelColumn) => (isRenamed && name === rename.from ? rename.to : name)
  const make = ({ isWide, kind, name }: ResultColumn): ModelColumn => ({
    identity: fresh(),
    name,
    kind,
    isWide,
    initial: null,
    fieldId: 0,
  })
  let isRefused = false

  const meet = (column: ModelColumn, result: ResultColumn): ModelColumn => {
    const name = result.name
    const isPinned = pinned.has(column.identity)
    if (column.kind === result.kind) {
      // A date is no timestamp that a writer could have meant.
      const isNarrowDate = column.kind === "date" && column.isWide && !result.isWide
      if (!isNarrowDate && (column.isWide || !result.isWide)) return { ...column, name }
      const canWiden = wish.onChange === "evolve" && (column.kind !== "date" || formatVersion === 3)
      if (!isNarrowDate && canWiden) {
        if (column.kind === "date" && isPinned) isRefused = true
        return { ...column, name, isWide: true }
      }
    }
    if (isPinned || wish.onChange !== "evolve" || !wish.allowDestructive) isRefused = true
    return make(result)
  }

  const kept = new Map<number, ModelColumn>()
  for (const column of table) {
    const result = all.find(({ name }) => name === nameNow(column))
    if (result !== undefined) kept.set(column.identity, meet(column, result))
    else if (wish.defaults.has(column.name)) kept.set(column.identity, column)
    else if (wish.onChange === "fail") isRefused = true
    else if (!wish.replaces || wish.onChange === "ignore") kept.set(column.identity, column)
    else if (pinned.has(column.identity) || !wish.allowDestructive) isRefused = true
  }
  const known = new Map(table.map((column) => [nameNow(column), column]))
  const added = new Map<string, ModelColumn>()
  for (const result of all) {
    if (known.has(result.name)) continue
    const isAnnounced = base === null || wish.added.includes(result.name)
    if (!isAnnounced && wish.onChange === "fail") isRefused = true
    if (isAnnounced || wish.onChange === "evolve") added.set(result.name, make(result))
  }
  const keptOf = (column: ModelColumn | undefined) => (column === undefined ? undefined : kept.get(column.identity))
  const list = (columns: ReadonlyArray<ModelColumn | undefined>) => columns.filter((column) => column !== undefined)
  const isLacking = (column: ModelColumn) => !has(all, nameNow(column))
  const evolved =
    !wish.replaces || base === null
      ? list([...table.map(keptOf), ...added.values()])
      : list([
          ...all.map(({ name }) => (known.has(name) ? keptOf(known.get(name)) : added.get(name))),
          ...table.filter(isLacking).map(keptOf),
        ])
  if (base !== null && wish.added.length > 0) {
    evolved.sort((left, right) => Number(wish.added.includes(left.name)) - Number(wish.added.includes(right.name)))
  }
  for (const [name, { kind }] of wish.defaults) {
    if (evolved.find((column) => column.name === name)?.kind !== kind) isRefused = true
  }
  if (isRefused) return null
  const columns = evolved.map((column) => {
    const value = wish.defaults.get(column.name)?.value
    const isNew = base !== null && !table.some(({ identity }) => identity === column.identity)
    return value !== undefined && isNew && formatVersion === 3 ? { ...column, initial: value } : column
  })
  return { columns, formatVersion }
}
