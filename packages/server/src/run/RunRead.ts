import {
  Column,
  fromWireStatus,
  type Layer,
  type Lease,
  LeaseLost,
  type NamespaceName,
  type PipelineName,
  QualityResult,
  type RunId,
  RunNotFound,
  type RunStatus,
  type WireRunStatus,
  ZoneListing,
} from "@rat/domain"
import { Clock, DateTime, Effect } from "effect"
import { SqlClient } from "effect/sql"
import { type LogRow, type RunRow, runColumns, toLogEntry, toRun } from "./RunRow.ts"

/** What a list of runs is narrowed to; all given conditions hold together. */
export interface RunFilter {
  readonly namespace?: NamespaceName | undefined
  readonly layer?: Layer | undefined
  readonly pipeline?: PipelineName | undefined
  readonly status?: WireRunStatus | undefined
  /** Both exclusive. */
  readonly startedAfter?: DateTime.Utc | undefined
  readonly startedBefore?: DateTime.Utc | undefined
}

export interface RunListOptions extends RunFilter {
  readonly limit: number
  readonly offset: number
  /** `field` or `-field`; unknown fields mean the default, newest first. */
  readonly sort?: string | undefined
}

/** Fields a list can be sorted by. Values are SQL of this file, never of a request. */
const sortable: Readonly<Record<string, string>> = {
  id: "r.id",
  created_at: "r.id",
  started_at: "r.started_at",
  finished_at: "r.finished_at",
  duration_ms: "r.finished_at - r.started_at",
  status: "r.status",
  trigger: "r.trigger",
  namespace: "r.namespace",
  layer: "r.layer",
  pipeline: "r.pipeline",
  rows_written: "r.rows_written",
}

const orderBy = (sort: string | undefined): string => {
  const isDescending = sort?.startsWith("-") ?? true
  const column = sortable[sort?.replace(/^-/, "") ?? ""]
  if (column === undefined) return "r.id desc"
  return `${column} ${isDescending ? "desc" : "asc"} nulls last, r.id desc`
}

const queuePosition = `
  case when r.status = 'queued' then (
    select count(*)::integer from run q
    where q.status = 'queued' and q.namespace = r.namespace and q.id <= r.id
  ) end as queue_position`

interface QualityRow {
  readonly name: string
  readonly status: QualityResult["status"]
  readonly severity: QualityResult["severity"]
  readonly description: string
  readonly tags: ReadonlyArray<string>
  readonly remediation: string
  readonly violations: number | null
  readonly sample_columns: ReadonlyArray<{ readonly name: string; readonly type: string }>
  readonly sample_rows: QualityResult["sample_rows"]
  readonly error: string | null
  readonly duration_ms: number
}

export const makeRead = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const find = Effect.fn("RunRepository.find")(function* (runId: RunId) {
    const rows = yield* sql<RunRow>`
      select ${sql.literal(runColumns)}, ${sql.literal(queuePosition)}
      from run r
      where r.id = ${runId}`
    if (rows[0] === undefined) return yield* new RunNotFound({ runId })
    return toRun(rows[0], yield* Clock.currentTimeMillis)
  })

  /** Only the status; what a follower needs first. */
  const status = Effect.fn("RunRepository.status")(function* (runId: RunId) {
    const rows = yield* sql<{ readonly status: RunStatus }>`select status from run where id = ${runId}`
    if (rows[0] === undefined) return yield* new RunNotFound({ runId })
    return rows[0].status
  })

  const list = Effect.fn("RunRepository.list")(function* (options: RunListOptions) {
    const { namespace, layer, pipeline, startedAfter, startedBefore } = options
    const where = sql.and([
      ...(namespace === undefined ? [] : [sql`r.namespace = ${namespace}`]),
      ...(layer === undefined ? [] : [sql`r.layer = ${layer}`]),
      ...(pipeline === undefined ? [] : [sql`r.pipeline = ${pipeline}`]),
      ...(options.status === undefined ? [] : [sql`r.status = ${fromWireStatus(options.status)}`]),
      ...(startedAfter === undefined ? [] : [sql`r.started_at > ${DateTime.toDateUtc(startedAfter)}`]),
      ...(startedBefore === undefined ? [] : [sql`r.started_at < ${DateTime.toDateUtc(startedBefore)}`]),
    ])
    const [rows, totals] = yield* Effect.all(
      [
        sql<RunRow>`
          select ${sql.literal(runColumns)}, ${sql.literal(queuePosition)}
          from run r
          where ${where}
          order by ${sql.literal(orderBy(options.sort))}
          limit ${options.limit}
          offset ${options.offset}`,
        sql<{ readonly total: number }>`select count(*)::integer as total from run r where ${where}`,
      ],
      { concurrency: 2 },
    )
    const now = yield* Clock.currentTimeMillis
    return { runs: rows.map((row) => toRun(row, now)), total: totals[0]!.total }
  })

  const logs = Effect.fn("RunRepository.logs")(function* (
    runId: RunId,
    options: { readonly afterSeq: number; readonly limit: number },
  ) {
    const rows = yield* sql<LogRow>`
      select seq, at, level, phase, message
      from run_log
      where run_id = ${runId} and seq > ${options.afterSeq}
      order by seq
      limit ${options.limit}`
    return rows.map(toLogEntry)
  })

  const quality = Effect.fn("RunRepository.quality")(function* (runId: RunId) {
    const rows = yield* sql<QualityRow>`
      select
        name, status, severity, description, tags, remediation, violations::float8 as violations, sample_columns,
        sample_rows, error, duration_ms
      from quality_result
      where run_id = ${runId}
      order by name`
    if (rows.length === 0) yield* status(runId)
    return rows.map(
      (row) => new QualityResult({ ...row, sample_columns: row.sample_columns.map((column) => new Column(column)) }),
    )
  })

  /** Files of a landing zone in the run's namespace, oldest first, for the holder of the run. Null: no such zone. */
  const listZone = Effect.fn("RunRepository.listZone")(function* (lease: Lease, zone: string) {
    const rows = yield* sql<{
      readonly zone_id: string | null
      readonly id: string | null
      readonly filename: string
      readonly object_key: string
      readonly size_bytes: number
    }>`
      select z.id as zone_id, f.id, f.filename, f.object_key, f.size_bytes::float8 as size_bytes
      from run r
      left join landing_zone z on z.namespace = r.namespace and z.name = ${zone}
      left join landing_file f on f.zone_id = z.id
      where r.id = ${lease.runId} and r.status = 'running' and r.fencing_token = ${lease.fencingToken}
      order by f.uploaded_at, f.id`
    if (rows[0] === undefined) return yield* new LeaseLost({ runId: lease.runId, attempt: lease.attempt })
    if (rows[0].zone_id === null) return null
    return new ZoneListing({
      zone,
      files: rows.flatMap((row) =>
        row.id === null
          ? []
          : [{ id: row.id, filename: row.filename, key: row.object_key, size_bytes: row.size_bytes }],
      ),
    })
  })

  return { find, status, list, logs, quality, listZone }
})
