import {
  Column,
  fromWireStatus,
  isTerminal,
  type Layer,
  type Lease,
  LeaseLost,
  type NamespaceName,
  type PipelineId,
  type PipelineName,
  QualityResult,
  type RunId,
  type RunKind,
  RunNotFound,
  RunNotRepeatable,
  type RunRepeat,
  type RunStatus,
  type WireRunStatus,
  ZoneListing,
} from "@rat/domain"
import { Clock, DateTime, Effect } from "effect"
import { SqlClient } from "effect/sql"
import { makeQueueOrder } from "../queue/QueueOrder.ts"
import { type AttemptRow, type LogRow, type RunRow, runColumns, toLogEntry, toRun, toRunAttempt } from "./RunRow.ts"

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

  const positions = yield* makeQueueOrder

  /** Runs as clients see them, with their places in the queue. */
  const shown = Effect.fnUntraced(function* (rows: ReadonlyArray<Omit<RunRow, "queue_position">>) {
    const places = yield* positions(rows.filter((row) => row.status === "queued").map((row) => row.id))
    const now = yield* Clock.currentTimeMillis
    return rows.map((row) => toRun({ ...row, queue_position: places.get(row.id) ?? null }, now))
  })

  const find = Effect.fn("RunRepository.find")(function* (runId: RunId) {
    const rows = yield* sql<Omit<RunRow, "queue_position">>`
      select ${sql.literal(runColumns)}
      from run r
      where r.id = ${runId}`
    const [run] = yield* shown(rows)
    return run ?? (yield* new RunNotFound({ runId }))
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
        sql<Omit<RunRow, "queue_position">>`
          select ${sql.literal(runColumns)}
          from run r
          where ${where}
          order by ${sql.literal(orderBy(options.sort))}
          limit ${options.limit}
          offset ${options.offset}`,
        sql<{ readonly total: number }>`select count(*)::integer as total from run r where ${where}`,
      ],
      { concurrency: 2 },
    )
    return { runs: yield* shown(rows), total: totals[0]!.total }
  })

  const logs = Effect.fn("RunRepository.logs")(function* (
    runId: RunId,
    options: { readonly afterSeq: number; readonly limit: number; readonly attempt?: number | undefined },
  ) {
    const rows = yield* sql<LogRow>`
      select seq, at, level, phase, message
      from run_log
      where run_id = ${runId} and seq > ${options.afterSeq}
        and (${options.attempt ?? null}::integer is null or attempt = ${options.attempt ?? null}::integer)
      order by seq
      limit ${options.limit}`
    return rows.map(toLogEntry)
  })

  /** Oldest first. */
  const attempts = Effect.fn("RunRepository.attempts")(function* (runId: RunId) {
    const rows = yield* sql<AttemptRow>`
      select
        a.attempt, a.owner, a.outcome, a.started_at, a.ended_at, a.retry_at,
        case
          when a.outcome = 'succeeded' then null
          when ended.with_run then coalesce(r.phase, a.phase)
          else a.phase
        end as phase,
        case when ended.with_run then r.phases else a.phases end as phases,
        case when ended.with_run then r.error else a.error end as error,
        case when ended.with_run then r.error_code else a.error_code end as error_code
      from run_attempt a
      join run r on r.id = a.run_id
      -- What the attempt that ended the run has to say is in the run's row.
      cross join lateral (
        select a.attempt = r.attempt and (a.outcome = r.status or (a.outcome = 'lost' and r.status = 'failed')) is true
          as with_run
      ) as ended
      where a.run_id = ${runId}
      order by a.attempt`
    if (rows.length === 0) yield* status(runId)
    return rows.map(toRunAttempt)
  })

  /** What a run to be repeated was of; refused while it is active, and where a resume has nothing to go on from. */
  const repeatable = Effect.fn("RunRepository.repeatable")(function* ({ of, resume }: RunRepeat) {
    const [row] = yield* sql<{
      readonly kind: RunKind
      readonly namespace: NamespaceName
      readonly pipelineId: PipelineId | null
      readonly status: RunStatus
      readonly has_checkpoint: boolean
    }>`
      select
        kind, namespace, pipeline_id as "pipelineId", status,
        exists (select 1 from run_checkpoint k where k.run_id = r.id) as has_checkpoint
      from run r
      where id = ${of}`
    if (row === undefined) return yield* new RunNotFound({ runId: of })
    if (!isTerminal(row.status)) return yield* new RunNotRepeatable({ runId: of, reason: "active" })
    if (resume && row.status === "succeeded") return yield* new RunNotRepeatable({ runId: of, reason: "succeeded" })
    if (resume && !row.has_checkpoint) return yield* new RunNotRepeatable({ runId: of, reason: "no_checkpoint" })
    return { kind: row.kind, namespace: row.namespace, pipelineId: row.pipelineId }
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
      -- Without uploaded_at the bytes are still on their way.
      left join landing_file f on f.zone_id = z.id and f.uploaded_at is not null
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

  return { find, status, list, logs, attempts, repeatable, quality, listZone }
})
