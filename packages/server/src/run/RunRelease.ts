import type { Lease } from "@rat/domain"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { retryContention } from "../sql/SqlRetry.ts"
import { announce } from "./RunEvents.ts"
import { RunHub } from "./RunHub.ts"

/**
 * Takes back a run whose attempt has not begun. The attempt is forgotten, so that waiting in the wrong place costs no
 * attempt; its fencing token stays used up, so that nothing of it can come later.
 */
export const makeRelease = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const outbox = yield* Outbox
  const hub = yield* RunHub

  return {
    release: Effect.fn("RunRepository.release")(function* (lease: Lease) {
      const rows = yield* retryContention(sql`
        with requeued as (
          update run r
          set status = 'queued',
              attempt = r.attempt - 1,
              started_at = case when r.attempt > 1 then r.started_at end,
              lease_owner = null,
              lease_expires_at = null,
              phase = null,
              -- The branch of an earlier attempt is there, and it ends with the run.
              branch = case when r.attempt > 1 then r.branch end
          where r.id = ${lease.runId} and r.status = 'running' and r.fencing_token = ${lease.fencingToken}
          returning r.*
        ),
        forgotten as (
          delete from run_attempt a
          using requeued e
          where a.run_id = e.id and a.attempt = e.attempt + 1
        ),
        announced as (${announce(sql, "requeued")})
        select id from requeued`)
      if (rows.length === 0) return
      yield* hub.tell(lease.runId, { _tag: "Reread" })
      yield* hub.wake
      yield* outbox.wake
    }),
  }
})
