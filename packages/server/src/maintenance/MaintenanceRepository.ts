import {
  MaintenanceBusy,
  MaintenanceId,
  type MaintenanceKind,
  MaintenanceNotFound,
  type MaintenancePolicyPart,
  type MaintenanceStatus,
  OrphanReport,
  type TableKey,
  type TableOperation,
  TableReport,
} from "@rat/domain"
import { Context, Effect, Layer, Queue, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { toJsonb } from "../sql/Jsonb.ts"
import { retryContention } from "../sql/SqlRetry.ts"
import { type MaintenanceRow, maintenanceColumns, toMaintenanceRun } from "./MaintenanceRow.ts"
import { MaintenanceSettings } from "./MaintenanceSettings.ts"

/** Attempts of a run whose nodes die, the first included. */
const maxAttempts = 3
/** Tables that one look puts into the queue. */
const maxDue = 100
/** Rows removed by one statement. */
const maxRemoved = 1000

/** A run of maintenance that this node holds. */
export interface ClaimedMaintenance {
  readonly id: MaintenanceId
  readonly kind: MaintenanceKind
  readonly table: Pick<TableKey, "namespace" | "layer" | "name"> | null
  readonly operations: ReadonlyArray<TableOperation>
  readonly trigger: "policy" | "manual"
  readonly attempt: number
}

export interface MaintenanceFilter {
  readonly kind?: MaintenanceKind | undefined
  readonly status?: MaintenanceStatus | undefined
  /** `namespace.layer.name`. */
  readonly table?: string | undefined
}

type Key = Pick<TableKey, "namespace" | "layer" | "name">

const encodeTable = Schema.encodeSync(Schema.toCodecJson(TableReport))
const encodeOrphans = Schema.encodeSync(Schema.toCodecJson(OrphanReport))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const outbox = yield* Outbox
  const settings = yield* MaintenanceSettings
  const wakes = yield* Queue.sliding<void>(1)
  const wake = Effect.asVoid(Queue.offer(wakes, undefined))
  const columns = sql.literal(maintenanceColumns)
  const lease = sql`now() + make_interval(secs => ${settings.leaseSeconds}::integer)`

  /** Events of runs that changed: rows of the CTE `changed`. */
  const announce = sql.literal(`
    insert into outbox (key, type, namespace, payload)
    select
      coalesce(c.namespace || '.' || c.layer || '.' || c.name, 'orphans'), 'maintenance.' || c.status, coalesce(c.namespace, ''),
      jsonb_build_object(
        'id', c.id, 'kind', c.kind, 'status', c.status, 'trigger', c.trigger, 'attempt', c.attempt, 'operations', c.operations,
        'layer', c.layer, 'table', c.name, 'bytes_before', c.bytes_before, 'bytes_after', c.bytes_after, 'error', c.error)
    from changed c
    where c.status <> 'queued'
    order by c.id`)

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

  /**
   * Puts tables into the queue whose time has come: enough commits to main since they were looked after last, or any commit and
   * long ago. One query over the catalog's rows; no metadata is read. Tables with a run at work wait for its end. Answers with
   * how many.
   */
  const enqueueDue = Effect.fn("MaintenanceRepository.enqueueDue")(function* () {
    const { every_commits, every_hours } = settings.policy
    const ids = Array.from({ length: maxDue }, () => SecureRandom.uuidV7Unsafe())
    const rows = yield* sql<{ readonly id: string }>`
      with candidate as (
        select t.namespace, t.layer, t.name,
          coalesce((m.effective ->> 'every_commits')::integer, ${every_commits}::integer) as every_commits,
          coalesce((m.effective ->> 'every_hours')::integer, ${every_hours}::integer) as every_hours,
          coalesce(m.commit_id, 0) as since,
          m.maintained_at
        from catalog_table t
        left join maintenance_table m on m.namespace = t.namespace and m.layer = t.layer and m.name = t.name
        where t.metadata_location is not null and t.commit_id > coalesce(m.commit_id, 0)
          and coalesce((m.policy ->> 'enabled')::boolean, (m.effective ->> 'enabled')::boolean, true)
          and not exists (
            select from run r
            where r.status = 'running' and r.namespace = t.namespace and r.layer = t.layer and r.pipeline = t.name
          )
      ),
      due as (
        select c.namespace, c.layer, c.name, row_number() over (order by c.maintained_at nulls first) as place
        from candidate c
        cross join lateral (
          select count(*) as commits, min(v.updated_at) as first
          from (
            select v.updated_at
            from catalog_version v
            where v.namespace = c.namespace and v.layer = c.layer and v.name = c.name and v.commit_id > c.since
            limit c.every_commits
          ) v
        ) v
        where v.commits >= c.every_commits
          or coalesce(c.maintained_at, v.first) < now() - make_interval(hours => c.every_hours)
        order by c.maintained_at nulls first, c.namespace, c.layer, c.name
        limit ${maxDue}::integer
      )
      insert into maintenance_run (id, kind, namespace, layer, name, operations, trigger)
      select i.id::uuid, 'table', d.namespace, d.layer, d.name, '{compact,manifests,expire}', 'policy'
      from due d
      join jsonb_array_elements_text(${toJsonb(ids)}::jsonb) with ordinality as i (id, place) on i.place = d.place
      on conflict do nothing
      returning id`
    if (rows.length > 0) yield* wake
    return rows.length
  })

  const enqueueOrphans = Effect.fn("MaintenanceRepository.enqueueOrphans")(function* () {
    const rows = yield* sql`
      insert into maintenance_run (id, kind, operations, trigger)
      select ${SecureRandom.uuidV7Unsafe()}::uuid, 'orphans', '{}', 'policy'
      where not exists (
        select from maintenance_run
        where kind = 'orphans'
          and coalesce(finished_at, now()) > now() - make_interval(hours => ${settings.orphanIntervalHours}::integer)
      )
      on conflict do nothing
      returning id`
    if (rows.length > 0) yield* wake
    return rows.length
  })

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
      table: row.name === null ? null : ({ namespace: row.namespace, layer: row.layer, name: row.name } as Key),
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
          limit ${maxDue}::integer
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

  /** For the process that alone owns its database: what an earlier process held is nobody's any more. */
  const abandonLeases = (startedBefore: Date) =>
    sql`
      update maintenance_run
      set lease_expires_at = now() - interval '1 second'
      where status = 'running' and started_at < ${startedBefore}`.pipe(Effect.asVoid)

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

  const list = Effect.fn("MaintenanceRepository.list")(function* (
    filter: MaintenanceFilter & { readonly limit: number; readonly offset: number },
  ) {
    const [namespace, layer, name] = filter.table?.split(".") ?? []
    const where = sql.and([
      filter.kind === undefined ? "true" : sql`kind = ${filter.kind}`,
      filter.status === undefined ? "true" : sql`status = ${filter.status}`,
      filter.table === undefined
        ? "true"
        : sql`namespace = ${namespace ?? ""} and layer = ${layer ?? ""} and name = ${name ?? ""}`,
    ])
    const rows = yield* sql<MaintenanceRow>`
      select ${columns}
      from maintenance_run
      where ${where}
      order by id desc
      limit ${filter.limit} offset ${filter.offset}`
    const [count] = yield* sql<{ readonly n: bigint }>`select count(*) as n from maintenance_run where ${where}`
    return { runs: rows.map(toMaintenanceRun), total: Number(count?.n ?? 0) }
  })

  const find = Effect.fn("MaintenanceRepository.find")(function* (id: string) {
    const rows = yield* sql<MaintenanceRow>`select ${columns} from maintenance_run where id::text = ${id}`
    if (rows[0] === undefined) return yield* new MaintenanceNotFound({ id })
    return toMaintenanceRun(rows[0])
  })

  /** Keys set through the API; null where there are none. */
  const policy = Effect.fn("MaintenanceRepository.policy")(function* ({ layer, name, namespace }: Key) {
    const rows = yield* sql<{ readonly policy: MaintenancePolicyPart | null }>`
      select policy
      from maintenance_table
      where namespace = ${namespace} and layer = ${layer} and name = ${name}`
    return rows[0]?.policy ?? null
  })

  /** Replaces them; an empty part removes them. */
  const setPolicy = Effect.fn("MaintenanceRepository.setPolicy")(function* (key: Key, part: MaintenancePolicyPart) {
    const text = Object.keys(part).length === 0 ? null : toJsonb(part)
    yield* sql`
      insert into maintenance_table as m (namespace, layer, name, policy)
      values (${key.namespace}, ${key.layer}, ${key.name}, ${text}::jsonb)
      on conflict (namespace, layer, name) do update
      set policy = excluded.policy`
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
    enqueueDue,
    enqueueOrphans,
    claim,
    renew,
    expireLeases,
    abandonLeases,
    succeedTable,
    succeedOrphans,
    fail,
    list,
    find,
    policy,
    setPolicy,
    prune,
    /** Waits until there may be something to claim; wakes since the last wait count as one. */
    woken: Queue.take(wakes),
  }
})

/**
 * The only writer of tables `maintenance_run` and `maintenance_table`. Invariants: of one table at most one run is open, and
 * one removal of orphans; a terminal status is never left; a status and its event commit together; only the newest attempt
 * ends a run. Reads the catalog's and runs' tables to find out what is due.
 */
export class MaintenanceRepository extends Context.Service<MaintenanceRepository, Effect.Success<typeof make>>()(
  "rat/server/maintenance/MaintenanceRepository",
) {
  static readonly layer: Layer.Layer<MaintenanceRepository, never, SqlClient.SqlClient | Outbox | MaintenanceSettings> =
    Layer.effect(MaintenanceRepository, make)
}
