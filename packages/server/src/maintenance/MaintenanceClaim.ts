import type { MaintenanceId, MaintenanceKind, TableKey, TableOperation } from "@rat/domain"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { retryContention } from "../sql/SqlRetry.ts"
import { announceMaintenance } from "./MaintenanceEvents.ts"
import { type MaintenanceRow, maintenanceColumns } from "./MaintenanceRow.ts"
import { MaintenanceSettings } from "./MaintenanceSettings.ts"

/** Attempts of a run whose nodes die, the first included. */
const maxAttempts = 3
/** Leases taken back in one statement. */
const maxExpired = 100

/** A run of maintenance that this node holds. */
export interface ClaimedMaintenance {
  readonly id: MaintenanceId
  readonly kind: MaintenanceKind
  readonly table: Pick<TableKey, "namespace" | "layer" | "name"> | null
  readonly operations: ReadonlyArray<TableOperation>
  readonly trigger: "policy" | "manual"
  readonly attempt: number
}

/** Who does a run of maintenance, for how long. */
export const makeClaim = Effect.fnUntraced(function* (wake: Effect.Effect<void>) {
  const sql = yield* SqlClient.SqlClient
  const outbox = yield* Outbox
  const settings = yield* MaintenanceSettings
  const columns = sql.literal(maintenanceColumns)
  const announce = announceMaintenance(sql)
  const lease = sql`now() + make_interval(secs => ${settings.leaseSeconds}::integer)`

  /** The oldest waiting run, or null. Manual ones come first. */
  const claim = Effect.fn("MaintenanceRepository.claim")(function* (node: string) {
    const rows = yield* sql<MaintenanceRow>`
      with next as (
        select id
        from maintenance_run
        where status = 'queued'
        order by trigger = 'policy', id
        limit 1
        for update skip locked
      ),
      changed as (
        update maintenance_run m
        set status = 'running', node = ${node}, attempt = attempt + 1, started_at = coalesce(started_at, now()),
            lease_expires_at = ${lease}
        from next
        where m.id = next.id
        returning m.*
      ),
      announced as (${announce})
      select ${columns} from changed`.pipe(retryContention)
    const [row] = rows
    if (row === undefined) return null
    yield* outbox.wake
    return {
      id: row.id,
      kind: row.kind,
      table:
        row.name === null
          ? null
          : ({ namespace: row.namespace, layer: row.layer, name: row.name } as NonNullable<
              ClaimedMaintenance["table"]
            >),
      operations: row.operations,
      trigger: row.trigger,
      attempt: row.attempt,
    } satisfies ClaimedMaintenance as ClaimedMaintenance
  })

  /** Whether this node holds the run still. */
  const renew = Effect.fn("MaintenanceRepository.renew")(function* (held: ClaimedMaintenance) {
    const rows = yield* sql`
      update maintenance_run
      set lease_expires_at = ${lease}
      where id = ${held.id} and status = 'running' and attempt = ${held.attempt}
      returning id`
    return rows.length > 0
  })

  /** Gives a run back that was not ended, because the node stops. */
  const release = Effect.fn("MaintenanceRepository.release")(function* (held: ClaimedMaintenance) {
    yield* sql`
      update maintenance_run
      set status = 'queued', lease_expires_at = null
      where id = ${held.id} and status = 'running' and attempt = ${held.attempt}`
  })

  /** Runs whose nodes fell silent wait again, or have failed when all attempts are used up. */
  const expireLeases = Effect.fn("MaintenanceRepository.expireLeases")(function* () {
    const rows = yield* sql`
      with changed as (
        update maintenance_run
        set status = case when attempt < ${maxAttempts}::integer then 'queued' else 'failed' end,
            finished_at = case when attempt < ${maxAttempts}::integer then null else now() end,
            lease_expires_at = null,
            error = case
              when attempt < ${maxAttempts}::integer then null
              else 'Its node "' || node || '" died, was killed or lost its connection, ' || attempt || ' times. What was done before '
                || 'stays; nothing is broken. Look at the log of that node (memory, disk).'
            end
        where id in (
          select id from maintenance_run
          where status = 'running' and lease_expires_at < now()
          order by id
          limit ${maxExpired}::integer
          for update skip locked)
        returning *
      ),
      announced as (${announce})
      select id from changed`.pipe(retryContention)
    if (rows.length > 0) {
      yield* wake
      yield* outbox.wake
    }
    return rows.length
  })

  /** Ends the leases of a node that is gone, without waiting for them to run out. */
  const expireOwner = Effect.fn("MaintenanceRepository.expireOwner")(function* (owner: string) {
    const held = yield* sql`
      update maintenance_run
      set lease_expires_at = now() - interval '1 second'
      where status = 'running' and node = ${owner}
      returning id`
    if (held.length > 0) yield* expireLeases()
  })

  return { claim, renew, release, expireLeases, expireOwner }
})
