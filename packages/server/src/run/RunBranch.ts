import { RefName, type RunId } from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { DateTime, Effect } from "effect"
import { SqlClient } from "effect/sql"
import { RunSettings } from "./RunSettings.ts"

/** Branches deleted in one call. */
const maxCollected = 100

/** The end of branches of runs that were not published: readable for a while, then gone. */
export const makeBranches = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const settings = yield* RunSettings
  const catalog = yield* Catalog

  return {
    /** Lets the branch of a run that ends now expire, in the transaction that ends the run. */
    expireOf: (run: { readonly branch: string | null }) =>
      run.branch === null
        ? Effect.void
        : Effect.flatMap(DateTime.now, (now) =>
            catalog.expireBranch(RefName.make(run.branch!), DateTime.add(now, { hours: settings.branchHours })),
          ),

    /**
     * Deletes branches of failed and cancelled runs whose time has come, at most 100; answers with how many. The rows
     * remember them, so a branch that a dying runner made after its run had ended goes too.
     */
    collect: Effect.fn("RunRepository.collectBranches")(function* () {
      const rows = yield* sql<{ readonly id: RunId; readonly branch: string }>`
        select id, branch
        from run
        where branch is not null and branch_expires_at < now()
        order by branch_expires_at
        limit ${maxCollected}::integer`
      if (rows.length === 0) return 0
      for (const row of rows) yield* catalog.deleteRef(RefName.make(row.branch))
      const ids = rows.map((row) => row.id)
      // Nothing can be gone on with without its branch.
      yield* sql`
        with gone as (delete from run_checkpoint where ${sql.in("run_id", ids)})
        update run set branch = null where ${sql.in("id", ids)}`
      return rows.length
    }),
  }
})
