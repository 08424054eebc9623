import type { Strategy } from "./Strategy.ts"

/** The table's content becomes the result. */
export const fullRefresh: Strategy = {
  name: "full_refresh",
  problems: () => [],
  addedColumns: () => [],
  concerns: () => "none",
  plan: () => ({ inserts: "source", deletes: "all" }),
}
