import { matching } from "./KeyMatch.ts"
import type { Strategy } from "./Strategy.ts"
import { strategyProblems } from "./StrategyRules.ts"

/** Old rows whose value in `partition_column` occurs in the result (NULL is a value) go, and the result comes. */
export const snapshotStrategy: Strategy = {
  name: "snapshot",
  problems: (settings) => strategyProblems("snapshot", settings),
  addedColumns: () => [],
  concerns: ({ partitionColumn }) => (partitionColumn === null ? "none" : [partitionColumn]),
  replaces: ({ partitionColumn }) => partitionColumn,
  plan: ({ settings: { partitionColumn }, source, target }) => ({
    inserts: "source",
    deletes: partitionColumn === null ? null : matching(target, source, [partitionColumn]),
  }),
}
