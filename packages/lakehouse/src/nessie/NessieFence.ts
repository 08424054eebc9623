import type { RefName } from "@rat/domain"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { BranchHeld } from "../catalog/Catalog.ts"

/**
 * Which attempt of its run a branch belongs to: Nessie has no place for that, so it is in our row. Whoever commits looks at the branch's head
 * first and at the fence afterwards, so a commit of an attempt before is refused by one or the other (`NessieCommits.seal`).
 */
export const makeNessieFence = (sql: SqlClient.SqlClient) => ({
  /** Answers with the fence before. */
  take: Effect.fnUntraced(function* (name: RefName, runId: string, fence: bigint) {
    const [row] = yield* sql<{ readonly before: bigint }>`
      update nessie_ref r
      set fence = ${fence}
      from (select name, fence from nessie_ref where name = ${name} for update) b
      where r.name = b.name and r.run_id = ${runId} and b.fence <= ${fence}
      returning b.fence as before`
    return row === undefined ? yield* new BranchHeld({ ref: name }) : BigInt(row.before)
  }),

  /** Fails where a newer attempt has the branch. */
  check: Effect.fnUntraced(function* (name: RefName, fence: bigint) {
    const newer = yield* sql`select from nessie_ref where name = ${name} and fence > ${fence}`
    if (newer.length > 0) return yield* new BranchHeld({ ref: name })
  }),
})

export type NessieFence = ReturnType<typeof makeNessieFence>
