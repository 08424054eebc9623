import { mainRef, type RefName } from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { refuse } from "./RestFailure.ts"
import { refNamed } from "./RestName.ts"

/** What branch or tag a request is about, and whether it may change anything there. */
export const makeRefScope = Effect.gen(function* () {
  const catalog = yield* Catalog
  const sql = yield* SqlClient.SqlClient

  const named = Effect.fnUntraced(function* (prefix: string | null) {
    if (prefix === null) return mainRef
    return (
      refNamed(prefix) ??
      (yield* refuse("NoSuchWarehouseException", `"${prefix}" is neither a branch nor a tag: no ref has such a name.`))
    )
  })

  return {
    /** The ref of a prefix. Whether it exists shows where it is used. */
    named,
    exists: (ref: RefName) => (ref === mainRef ? Effect.void : Effect.asVoid(catalog.ref(ref))),
    /** Tags never change. A run's branch is the run's: others may write to it while the run goes on, as a part of it. */
    writable: Effect.fnUntraced(function* (ref: RefName) {
      if (ref === mainRef) return
      const { kind, runId } = yield* catalog.ref(ref)
      if (kind === "tag") {
        return yield* refuse("ForbiddenException", `"${ref}" is a tag: it can be read and never changes. Use a branch.`)
      }
      if (runId === null) return
      const running = yield* sql`select 1 from run where id::text = ${runId} and status = 'running'`
      if (running.length === 0) {
        return yield* refuse(
          "ForbiddenException",
          `Branch "${ref}" belongs to run ${runId}, which is not running: it can be read only. Make a branch of your own from it.`,
        )
      }
    }),
  }
})

export type RefScope = Effect.Success<typeof makeRefScope>
