import { appendOnly } from "./AppendOnly.ts"
import { deleteInsert } from "./DeleteInsert.ts"
import { fullRefresh } from "./FullRefresh.ts"
import { incremental } from "./Incremental.ts"
import { scd2 } from "./Scd2.ts"
import { snapshotStrategy } from "./SnapshotStrategy.ts"
import { softDelete } from "./SoftDelete.ts"
import type { Strategy } from "./Strategy.ts"

const known = new Map<string, Strategy>(
  [fullRefresh, appendOnly, incremental, deleteInsert, scd2, snapshotStrategy, softDelete].map((strategy) => [
    strategy.name,
    strategy,
  ]),
)

/** The merge strategies by their names. */
export const strategies = {
  /** Undefined when there is none of this name. */
  get: (name: string): Strategy | undefined => known.get(name),
  names: (): ReadonlyArray<string> => [...known.keys()],
  /** Adds one, for plugins. A name that is taken is a mistake of theirs: a `RangeError`. */
  register: (strategy: Strategy): void => {
    if (known.has(strategy.name)) throw new RangeError(`There is a merge strategy "${strategy.name}" already.`)
    known.set(strategy.name, strategy)
  },
}
