import { Clock, Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { MaintenanceRepository } from "../maintenance/MaintenanceRepository.ts"
import { RunRepository } from "../run/RunRepository.ts"
import { NodeIdentity } from "./NodeIdentity.ts"
import { lifeLocks, NodeRegistry } from "./NodeRegistry.ts"

const interval = Duration.seconds(1)
/** While there is nobody else: a process that was here before may have left something. */
const intervalAlone = Duration.seconds(5)
/** A node whose connection broke has this long to come back before its work is given to others. */
const grace = Duration.millis(900)
/**
 * Postgres may just have restarted, and everybody lost their session: only who has had one for a while can tell who is
 * missing.
 */
const trustAfter = Duration.seconds(3)

/**
 * Notices nodes that are gone, and gives back what they held: their leases end at once, instead of when they run out.
 * Every control node does it; each step may be repeated. A node that is alone has nobody to watch, except for what an earlier
 * process left.
 */
export const NodeReaper = {
  layer: Layer.effectDiscard(
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const self = yield* NodeIdentity
      const registry = yield* NodeRegistry
      const runs = yield* RunRepository
      const maintenance = yield* MaintenanceRepository
      const outbox = yield* Outbox

      /** Nodes whose session is gone, and owners of leases who are no nodes. */
      const missing = sql<{ readonly id: string }>`
        with alive as (
          select objid::bigint as number
          from pg_locks
          where locktype = 'advisory' and granted and classid = ${lifeLocks}::integer::oid and objsubid = 2
            and database = (select oid from pg_database where datname = current_database())
        ),
        owner as (
          select lease_owner as id from run where status = 'running'
          union
          select node from maintenance_run where status = 'running'
        )
        select n.id from node n where n.number not in (select number from alive) and n.id <> ${self.id}
        union
        select o.id from owner o where not exists (select from node n where n.id = o.id)`.pipe(
        Effect.map((rows) => rows.map(({ id }) => id)),
        Effect.withTracerEnabled(false),
      )

      const bury = Effect.fn("NodeReaper.bury")(function* (id: string) {
        const taken = yield* runs.expireOwner(id)
        yield* maintenance.expireOwner(id)
        yield* sql`delete from node where id = ${id}`
        // Events that it committed and did not come to relay.
        yield* outbox.wake
        yield* registry.refresh
        yield* Effect.logWarning("A node is gone; others go on with what it had in hand").pipe(
          Effect.annotateLogs({ gone: id, runs: taken }),
        )
      })

      /** Since when each of them has been missing, by our clock. */
      let suspects = new Map<string, number>()
      const look = Effect.gen(function* () {
        const since = yield* registry.sessionSince
        const now = yield* Clock.currentTimeMillis
        if (since === null || performance.now() - since < Duration.toMillis(trustAfter)) {
          suspects = new Map()
          return
        }
        suspects = new Map((yield* missing).map((id) => [id, suspects.get(id) ?? now]))
        for (const [id, first] of suspects) {
          if (now - first < Duration.toMillis(grace)) continue
          yield* bury(id)
          suspects.delete(id)
        }
      })
      // That Postgres is away is said elsewhere, once.
      const surely = Effect.catchCause(look, (cause) =>
        Effect.logDebug("Nodes that are gone could not be looked for", cause),
      )
      const pause = Effect.flatMap(registry.nodes, (nodes) =>
        Effect.sleep(nodes.some(({ id }) => id !== self.id) ? interval : intervalAlone),
      )
      if (self.isClustered) {
        yield* Effect.forkScoped(Effect.forever(Effect.andThen(surely, pause)))
        return
      }
      // Whoever else holds a lease is a process that was here before.
      yield* Effect.flatMap(missing, (ids) => Effect.forEach(ids, bury, { discard: true }))
    }),
  ),
}
