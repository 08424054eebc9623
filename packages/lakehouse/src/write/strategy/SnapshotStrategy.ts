import { matching } from "./KeyMatch.ts"
import type { Strategy } from "./Strategy.ts"

/** Old rows whose value in `partition_column` occurs in the result (NULL is a value) go, and the result comes. */
export const snapshotStrategy: Strategy = {
  name: "snapshot",
  problems: ({ partitionColumn }) =>
    partitionColumn === null
      ? [
          "The merge strategy snapshot needs partition_column, the column whose values are replaced. Add `partition_column: day` to config.yaml, or `-- @partition_column: day` to the code.",
        ]
      : [],
  addedColumns: () => [],
  concerns: ({ partitionColumn }) => (partitionColumn === null ? "none" : [partitionColumn]),
  plan: ({ settings: { partitionColumn }, source, target }) => ({
    inserts: "source",
    deletes: partitionColumn === null ? null : matching(target, source, [partitionColumn]),
  }),
}
