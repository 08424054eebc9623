import { OrphanReport, TableReport } from "@rat/domain"
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { toJsonb } from "../sql/Jsonb.ts"
import { retryContention } from "../sql/SqlRetry.ts"
import type { ClaimedMaintenance } from "./MaintenanceClaim.ts"
import { announceMaintenance } from "./MaintenanceEvents.ts"

const encodeTable = Schema.encodeSync(Schema.toCodecJson(TableReport))
const encodeOrphans = Schema.encodeSync(Schema.toCodecJson(OrphanReport))

/** How a run of maintenance ends. Only its newest attempt can; false for others. */
export const makeEnd = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const outbox = yield* Outbox
  const announce = announceMaintenance(sql)

  /** A policy's look that found nothing to do leaves no trace in the history. */
  const isIdle = (held: ClaimedMaintenance, report: TableReport) =>
    held.trigger === "policy" && report.operations.every(({ groups, skipped }) => groups === 0 && skipped === 0)

  const succeedTable = Effect.fn("MaintenanceRepository.succeedTable")(
    function* (held: ClaimedMaintenance, report: TableReport) {
      const { after, before, policy } = report
      const files = (size: typeof before | null) => (size === null ? null : size.data_files + size.delete_files)
      const ended = yield* isIdle(held, report)
        ? sql`
            delete from maintenance_run
            where id = ${held.id} and status = 'running' and attempt = ${held.attempt}
            returning id`
        : sql`
            with changed as (
              update maintenance_run
              set status = 'succeeded', finished_at = now(), lease_expires_at = null,
                  files_before = ${files(before)}::bigint, files_after = ${files(after)}::bigint,
                  rows_before = ${before.rows}::bigint, rows_after = ${after?.rows ?? null}::bigint,
                  bytes_before = ${before.size_bytes}::bigint, bytes_after = ${after?.size_bytes ?? null}::bigint,
                  report = ${toJsonb(encodeTable(report))}::jsonb
              where id = ${held.id} and status = 'running' and attempt = ${held.attempt}
              returning *
            ),
            announced as (${announce})
            select id from changed`
      if (ended.length === 0) return false
      yield* sql`
        insert into maintenance_table as m (namespace, layer, name, effective, commit_id, maintained_at)
        select ${report.namespace}, ${report.layer}, ${report.name}, ${toJsonb({ ...policy })}::jsonb,
          coalesce((
            select t.commit_id from catalog_table t
            where t.namespace = ${report.namespace} and t.layer = ${report.layer} and t.name = ${report.name}), 0),
          now()
        on conflict (namespace, layer, name) do update
        set effective = excluded.effective, commit_id = excluded.commit_id, maintained_at = excluded.maintained_at`
      yield* outbox.wake
      return true
    },
    sql.withTransaction,
    retryContention,
  )

  const succeedOrphans = Effect.fn("MaintenanceRepository.succeedOrphans")(function* (
    held: ClaimedMaintenance,
    report: OrphanReport,
  ) {
    const rows = yield* sql`
      with changed as (
        update maintenance_run
        set status = 'succeeded', finished_at = now(), lease_expires_at = null,
            files_before = ${report.objects}::bigint,
            files_after = ${report.objects - report.removed_objects}::bigint,
            report = ${toJsonb(encodeOrphans(report))}::jsonb
        where id = ${held.id} and status = 'running' and attempt = ${held.attempt}
        returning *
      ),
      announced as (${announce})
      select id from changed`.pipe(retryContention)
    yield* outbox.wake
    return rows.length > 0
  })

  const fail = Effect.fn("MaintenanceRepository.fail")(
    function* (held: ClaimedMaintenance, error: string) {
      const rows = yield* sql`
        with changed as (
          update maintenance_run
          set status = 'failed', finished_at = now(), lease_expires_at = null, error = ${error}
          where id = ${held.id} and status = 'running' and attempt = ${held.attempt}
          returning *
        ),
        announced as (${announce})
        select id from changed`
      // A table that cannot be looked after is tried again when its time comes, not at once.
      if (rows.length > 0 && held.table !== null) {
        const { layer, name, namespace } = held.table
        yield* sql`
          insert into maintenance_table as m (namespace, layer, name, commit_id, maintained_at)
          select t.namespace, t.layer, t.name, t.commit_id, now()
          from catalog_table t
          where t.namespace = ${namespace} and t.layer = ${layer} and t.name = ${name}
          on conflict (namespace, layer, name) do update
          set commit_id = excluded.commit_id, maintained_at = excluded.maintained_at`
      }
      yield* outbox.wake
      return rows.length > 0
    },
    sql.withTransaction,
    retryContention,
  )

  return { succeedTable, succeedOrphans, fail }
})
