import { MaintenanceBusy, MaintenanceId, type MaintenanceKind, type TableKey, type TableOperation } from "@rat/domain"
import { Context, Effect, Layer, Queue } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import type { Outbox } from "../event/Outbox.ts"
import { toJsonb } from "../sql/Jsonb.ts"
import { makeClaim } from "./MaintenanceClaim.ts"
import { makeDue } from "./MaintenanceDue.ts"
import { makeEnd } from "./MaintenanceEnd.ts"
import { makeRead } from "./MaintenanceRead.ts"
import { MaintenanceSettings } from "./MaintenanceSettings.ts"

/** Rows removed by one statement. */
const maxRemoved = 1000

type Key = Pick<TableKey, "namespace" | "layer" | "name">

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const settings = yield* MaintenanceSettings
  const wakes = yield* Queue.sliding<void>(1)
  const wake = Effect.asVoid(Queue.offer(wakes, undefined))
  const submit = Effect.fn("MaintenanceRepository.submit")(function* (wish: {
    readonly kind: MaintenanceKind
    readonly table: Key | null
    readonly operations: ReadonlyArray<TableOperation>
    readonly trigger: "policy" | "manual"
  }) {
    const id = MaintenanceId.make(SecureRandom.uuidV7Unsafe())
    const { table } = wish
    const rows = yield* sql<{ readonly id: MaintenanceId }>`
      insert into maintenance_run (id, kind, namespace, layer, name, operations, trigger)
      values (${id}, ${wish.kind}, ${table?.namespace ?? null}, ${table?.layer ?? null}, ${table?.name ?? null},
        (select coalesce(array_agg(value), '{}') from jsonb_array_elements_text(${toJsonb(wish.operations)}::jsonb) as o (value)),
        ${wish.trigger})
      on conflict do nothing
      returning id`
    if (rows.length === 0) {
      const open = yield* sql<{ readonly id: string }>`
        select id
        from maintenance_run
        where status in ('queued', 'running') and kind = ${wish.kind}
          and namespace is not distinct from ${table?.namespace ?? null}::text
          and layer is not distinct from ${table?.layer ?? null}::text
          and name is not distinct from ${table?.name ?? null}::text
        limit 1`
      const what = table === null ? "the object store" : `${table.namespace}.${table.layer}.${table.name}`
      return yield* new MaintenanceBusy({ what, id: open[0]?.id ?? "it has just ended" })
    }
    yield* wake
    return id
  })

  /** Removes old history. */
  const prune = Effect.fn("MaintenanceRepository.prune")(function* () {
    const rows = yield* sql`
      delete from maintenance_run
      where id in (
        select id from maintenance_run
        where finished_at < now() - make_interval(days => ${settings.historyDays}::integer)
        limit ${maxRemoved}::integer)
      returning id`
    return rows.length
  })

  return {
    submit,
    ...(yield* makeDue(wake)),
    ...(yield* makeClaim(wake)),
    ...(yield* makeEnd),
    ...(yield* makeRead),
    prune,
    /** Waits until there may be something to claim; wakes since the last wait count as one. */
    woken: Queue.take(wakes),
  }
})

/**
 * The only writer of tables `maintenance_run` and `maintenance_table`. Invariants: of one table at most one run is open, and
 * one removal of orphans; a terminal status is never left; a status and its event commit together; only the newest attempt
 * ends a run. Reads the catalog's and runs' tables to find out what is due. One file per step: `MaintenanceDue`, `MaintenanceClaim`,
 * `MaintenanceEnd`, `MaintenanceRead`.
 */
export class MaintenanceRepository extends Context.Service<MaintenanceRepository, Effect.Success<typeof make>>()(
  "rat/server/maintenance/MaintenanceRepository",
) {
  static readonly layer: Layer.Layer<MaintenanceRepository, never, SqlClient.SqlClient | Outbox | MaintenanceSettings> =
    Layer.effect(MaintenanceRepository, make)
}
