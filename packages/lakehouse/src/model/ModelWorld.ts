import type { TableKey } from "@rat/domain"
import type { ModelVersion } from "./ModelTable.ts"

/** What main had when a branch left it. */
interface Departure {
  readonly version: ModelVersion | undefined
  readonly moves: number
}

/** A branch or tag. A branch sees main as of its departure and its own changes. */
export interface ModelRef {
  readonly kind: "branch" | "tag"
  readonly tables: Map<string, ModelVersion>
  readonly departures: Map<string, Departure>
  readonly touched: Set<string>
  /** Main's version that a table of the branch was put upon since. */
  readonly onto: Map<string, ModelVersion>
  isExpired: boolean
}

/** Everything there is, as plain values. */
export interface ModelWorld {
  readonly main: Map<string, ModelVersion>
  /** How often main's pointer to a table moved. */
  readonly moves: Map<string, number>
  readonly refs: Map<string, ModelRef>
  /** Main after a commit of the catalog, as long as retention leaves it. */
  readonly commits: Map<string, ReadonlyMap<string, ModelVersion>>
  /** Tables of main that were dropped and can come back. */
  readonly dropped: Map<string, ModelVersion>
  readonly keys: ReadonlyArray<TableKey>
}

export const tablesOf = (world: ModelWorld, ref: string): Map<string, ModelVersion> =>
  ref === "main" ? world.main : world.refs.get(ref)!.tables

/** Points a ref to another version of a table, or to none. */
export const moveInModel = (world: ModelWorld, ref: string, table: string, next: ModelVersion | undefined) => {
  const tables = tablesOf(world, ref)
  if (ref === "main") {
    const before = tables.get(table)
    if (next === undefined && before !== undefined) world.dropped.set(table, before)
    else if (next !== undefined) world.dropped.delete(table)
    world.moves.set(table, (world.moves.get(table) ?? 0) + 1)
  } else world.refs.get(ref)!.touched.add(table)
  if (next === undefined) tables.delete(table)
  else tables.set(table, next)
}

export const branchInModel = (world: ModelWorld, from: string, kind: "branch" | "tag"): ModelRef => {
  const source = world.refs.get(from)
  const departures =
    source?.departures ??
    new Map(
      world.keys.map(({ name }): [string, Departure] => [
        name,
        { version: world.main.get(name), moves: world.moves.get(name) ?? 0 },
      ]),
    )
  return {
    kind,
    tables: new Map(tablesOf(world, from)),
    departures: new Map(departures),
    touched: new Set(source?.touched),
    onto: new Map(),
    isExpired: false,
  }
}

/** Tables that a merge of the branch would move: where both sides came to the same version, there is nothing to do. */
export const changedTables = (world: ModelWorld, branch: ModelRef): ReadonlyArray<string> =>
  [...branch.touched].filter(
    (table) => branch.tables.get(table)?.metadataLocation !== world.main.get(table)?.metadataLocation,
  )

/** Those of them that main has moved since. */
export const movedTables = (world: ModelWorld, branch: ModelRef): ReadonlyArray<string> =>
  changedTables(world, branch).filter((table) => {
    const onto = branch.onto.get(table)
    const isOnto = onto !== undefined && world.main.get(table)?.metadataLocation === onto.metadataLocation
    return !isOnto && (world.moves.get(table) ?? 0) !== branch.departures.get(table)!.moves
  })

const lineOf = (version: ModelVersion): ReadonlyArray<ModelVersion> => {
  const line: Array<ModelVersion> = []
  for (let at: ModelVersion | null = version; at !== null; at = at.parent) line.push(at)
  return line
}

/** Where two lines of versions part, and the versions of each since, the newest first; null when they never were one. */
export const partingOf = (ours: ModelVersion, theirs: ModelVersion) => {
  const [left, right] = [lineOf(ours), lineOf(theirs)]
  const base = left.find((version) => right.includes(version))
  if (base === undefined) return null
  return { base, ours: left.slice(0, left.indexOf(base)), theirs: right.slice(0, right.indexOf(base)) }
}
