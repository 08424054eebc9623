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
    onto: new Map(source?.onto),
    isExpired: false,
  }
}

/** Tables of a branch that main has moved since. */
export const movedTables = (world: ModelWorld, branch: ModelRef): ReadonlyArray<string> =>
  [...branch.touched].filter((table) => {
    const onto = branch.onto.get(table)
    const isOnto = onto !== undefined && world.main.get(table)?.metadataLocation === onto.metadataLocation
    return !isOnto && (world.moves.get(table) ?? 0) !== branch.departures.get(table)!.moves
  })

/** The versions between a version and an older one of its line, the newest first; null when the older is not of its line. */
export const versionsSince = (
  version: ModelVersion,
  base: ModelVersion | undefined,
): ReadonlyArray<ModelVersion> | null => {
  const found: Array<ModelVersion> = []
  for (let at: ModelVersion | null = version; at !== base; at = at.parent) {
    if (at === null) return null
    found.push(at)
  }
  return found
}
