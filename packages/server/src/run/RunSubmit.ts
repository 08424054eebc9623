import {
  type NamespaceName,
  NamespaceNotFound,
  type PipelineId,
  PipelineNotFound,
  QueueFull,
  type Run,
  RunId,
  type RunKind,
  type RunParameters,
  type RunRepeat,
} from "@rat/domain"
import { makeGroupCommit } from "@rat/lakehouse"
import { Clock, DateTime, Effect, Exit, type Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { makePace } from "../queue/QueuePace.ts"
import { toJsonb } from "../sql/Jsonb.ts"
import { retryContention } from "../sql/SqlRetry.ts"
import { makeTakeOver, takeOverCheckpoints } from "./RunCheckpoint.ts"
import { announce } from "./RunEvents.ts"
import { RunHub } from "./RunHub.ts"
import { type RunRow, runColumns, toRun } from "./RunRow.ts"
import { RunSettings } from "./RunSettings.ts"

/** A wish for a run. `pipelineId` is null for kinds without a table. */
export interface Submission {
  readonly kind: RunKind
  readonly namespace: NamespaceName
  readonly pipelineId: PipelineId | null
  readonly trigger: string
  readonly idempotencyKey: string | null
  readonly traceparent: string | null
  /** Null: a new one. The same id again is the same run. */
  readonly runId?: RunId | null | undefined
  readonly parameters?: RunParameters | undefined
  /** Null: the moment at which the run is accepted. */
  readonly logicalTime?: DateTime.Utc | null | undefined
  /** -100 to 100, larger first; null: what the pipeline's code says. */
  readonly priority?: number | null | undefined
  /** An ended run whose code, parameters, logical time and checkpoint this one takes over. */
  readonly repeat?: RunRepeat | null | undefined
}

export type SubmitError = QueueFull | NamespaceNotFound | PipelineNotFound

interface Verdict {
  readonly ord: number
  readonly namespace_known: boolean
  readonly pipeline_known: boolean
  readonly target_layer: string | null
  readonly target_name: string | null
  /** Run that an earlier request with the same idempotency key made. */
  readonly prior_id: RunId | null
  /** Places that it would have had among the pending runs, and how many there are. */
  readonly namespace_place: number | null
  readonly namespace_limit: number | null
  readonly pipeline_place: number | null
  readonly pipeline_limit: number | null
}

/**
 * Accepts runs: limits, idempotency key, snapshot of the code and event are one statement for a whole group. The limits are exact, also
 * when several nodes submit at once: function `run_pending` lets one statement at a time count and add to a namespace.
 */
export const makeSubmit = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const settings = yield* RunSettings
  const outbox = yield* Outbox
  const hub = yield* RunHub
  const retryAfter = yield* makePace
  const checkpointsFor = yield* makeTakeOver

  const insert = (
    items: ReadonlyArray<Submission & { readonly id: RunId }>,
    checkpoints: ReadonlyMap<RunId, Schema.Json>,
  ) => {
    const input = toJsonb(
      items.map((item, ord) => ({
        ord,
        id: item.id,
        kind: item.kind,
        namespace: item.namespace,
        pipeline_id: item.pipelineId,
        trigger: item.trigger,
        idempotency_key: item.idempotencyKey,
        traceparent: item.traceparent,
        parameters: item.parameters ?? {},
        logical_time: item.logicalTime == null ? null : DateTime.formatIso(item.logicalTime),
        priority: item.priority ?? null,
        retry_of: item.repeat?.of ?? null,
        checkpoint: checkpoints.get(item.id) ?? null,
      })),
    )
    return sql<Verdict & (RunRow | { readonly id: null })>`
      with input as (
        select *
        from jsonb_to_recordset(${input}::jsonb) as i (
          ord integer, id uuid, kind text, namespace text, pipeline_id uuid, trigger text, idempotency_key text,
          traceparent text, parameters jsonb, logical_time timestamptz, priority integer, retry_of uuid, checkpoint jsonb)
      ),
      target as (
        select
          i.*, p.layer, p.name as pipeline, p.type as pipeline_type,
          n.name is not null as namespace_known,
          (i.pipeline_id is null or (p.id is not null and p.deleted_at is null))
            -- Retention took the run that was to be repeated in this very moment.
            and (i.retry_of is null or exists (select 1 from run s where s.id = i.retry_of)) as pipeline_known,
          prior.id as prior_id
        from input i
        left join namespace n on n.name = i.namespace
        left join pipeline p on p.id = i.pipeline_id and p.namespace = i.namespace
        left join lateral (
          -- A request that is asked again because its answer was lost, here or for the client.
          select r.id from run r where r.id = i.id
          union all
          select r.id from run r where r.namespace = i.namespace and r.idempotency_key = i.idempotency_key
          limit 1
        ) as prior on true
      ),
      pending as materialized (
        select p.namespace, p.pipeline_id, p.runs
        from run_pending(
          (select array_agg(distinct i.namespace) from input i),
          (select array_agg(distinct i.pipeline_id) from input i where i.pipeline_id is not null)) p
      ),
      new as (
        select
          t.*,
          coalesce(n.max_pending, ${settings.maxPendingPerNamespace}::integer) as namespace_limit,
          coalesce(l.max_pending, n.max_pending_per_pipeline, ${settings.maxPendingPerPipeline}::integer)
            as pipeline_limit,
          p.runs + row_number() over (partition by t.pipeline_id order by t.ord) as pipeline_place
        from target t
        left join namespace_limit n on n.namespace = t.namespace
        left join pipeline_limit l on l.pipeline_id = t.pipeline_id
        left join pending p on p.pipeline_id = t.pipeline_id
        where t.prior_id is null and t.namespace_known and t.pipeline_known
          -- The same key twice in one group is one run, and takes one place.
          and not exists (
            select 1 from input o
            where o.namespace = t.namespace and o.idempotency_key = t.idempotency_key and o.ord < t.ord)
      ),
      wanted as (
        select
          w.*,
          -- Those whose pipeline is full take no place.
          p.runs + count(*) filter (where w.pipeline_id is null or w.pipeline_place <= w.pipeline_limit)
            over (partition by w.namespace order by w.ord) as namespace_place
        from new w
        join pending p on p.namespace = w.namespace
      ),
      accepted as (
        select *
        from wanted w
        where w.namespace_place <= w.namespace_limit
          and (w.pipeline_id is null or w.pipeline_place <= w.pipeline_limit)
      ),
      code as (
        select
          a.id,
          coalesce(
            jsonb_agg(jsonb_build_object('path', f.relative, 'hash', f.hash) order by f.relative)
              filter (where f.relative is not null),
            '[]') as files,
          'draft@' || left(
            encode(
              sha256(convert_to(
                coalesce(string_agg(f.relative || ' ' || f.hash, chr(10) order by f.relative), ''), 'UTF8')),
              'hex'),
            12) as version,
          -- What the code says wins over config.yaml.
          coalesce((max(f.queueing::text) filter (where f.relative = 'config.yaml'))::jsonb, '{}')
            || coalesce((max(f.queueing::text) filter (where f.relative like 'pipeline.%'))::jsonb, '{}')
            as queueing
        from accepted a
        left join lateral (
          select substr(file.path, length(folder.prefix) + 1) collate "C" as relative, file.hash, file.queueing
          from (
            select (a.namespace || '/pipelines/' || a.layer || '/' || a.pipeline || '/') collate "C" as prefix
          ) as folder
          join file on file.path >= folder.prefix and file.path < left(folder.prefix, -1) || '0'
        ) as f on true
        where a.pipeline_id is not null
        group by a.id
      ),
      inserted as (
        insert into run as r (
          id, kind, namespace, pipeline_id, layer, pipeline, pipeline_type, trigger, idempotency_key, traceparent,
          code_version, code_files, parameters, logical_time, retry_of, priority, concurrency_key, concurrency_limit)
        select
          a.id, a.kind, a.namespace, a.pipeline_id, a.layer, a.pipeline, a.pipeline_type, a.trigger, a.idempotency_key,
          a.traceparent, coalesce(s.code_version, c.version), coalesce(s.code_files, c.files, '[]'),
          coalesce(s.parameters, a.parameters), coalesce(s.logical_time, s.created_at, a.logical_time), a.retry_of,
          coalesce(a.priority, s.priority, (c.queueing ->> 'priority')::integer, 0),
          coalesce(s.concurrency_key, c.queueing ->> 'concurrency_key', ''),
          coalesce(s.concurrency_limit, (c.queueing ->> 'concurrency_limit')::integer, 1)
        from accepted a
        left join code c on c.id = a.id
        left join run s on s.id = a.retry_of
        on conflict do nothing
        returning r.*
      ),
      resumed as (${takeOverCheckpoints(sql)}),
      announced as (${announce(sql, "inserted")})
      select
        t.ord, t.namespace_known, t.pipeline_known, t.prior_id, t.layer as target_layer, t.pipeline as target_name,
        w.namespace_place::integer as namespace_place, w.namespace_limit, w.pipeline_place::integer as pipeline_place, w.pipeline_limit,
        null::integer as queue_position,
        ${sql.literal(runColumns)}
      from target t
      left join wanted w on w.ord = t.ord
      left join inserted r on r.id = t.id
      order by t.ord`
  }

  const findPrior = (item: Submission & { readonly id: RunId }) =>
    sql<RunRow>`
      select ${sql.literal(runColumns)}, null as queue_position
      from run r
      where r.id = ${item.id} or (r.namespace = ${item.namespace} and r.idempotency_key = ${item.idempotencyKey})
      limit 1`

  const errorOf = Effect.fnUntraced(function* (item: Submission, row: Verdict, refusal: Refusal) {
    const pipeline = {
      namespace: item.namespace,
      layer: row.target_layer ?? "?",
      name: row.target_name ?? `${item.pipelineId}`,
    }
    switch (refusal) {
      case "no namespace":
        return new NamespaceNotFound({ namespace: item.namespace })
      case "no pipeline":
        return new PipelineNotFound(pipeline)
      case "namespace full": {
        const limit = row.namespace_limit ?? settings.maxPendingPerNamespace
        const seconds = yield* retryAfter({ scope: "namespace", id: item.namespace }, limit)
        return new QueueFull({ scope: "namespace", name: item.namespace, limit, retryAfterSeconds: seconds })
      }
      case "pipeline full": {
        const limit = row.pipeline_limit ?? settings.maxPendingPerPipeline
        const seconds = yield* retryAfter({ scope: "pipeline", id: item.pipelineId! }, limit)
        const name = `${pipeline.namespace}.${pipeline.layer}.${pipeline.name}`
        return new QueueFull({ scope: "pipeline", name, limit, retryAfterSeconds: seconds })
      }
    }
  })

  const accept = (items: ReadonlyArray<Submission & { readonly id: RunId }>) =>
    Effect.gen(function* () {
      const rows = yield* retryContention(insert(items, yield* checkpointsFor(items)))
      const now = yield* Clock.currentTimeMillis
      const answers: Array<Exit.Exit<Run, SubmitError>> = []
      for (const row of rows) {
        const item = items[row.ord]!
        if (row.id !== null) answers.push(Exit.succeed(toRun(row, now)))
        else {
          const refusal = refused(item, row)
          const prior = refusal === undefined ? yield* findPrior(item) : []
          // Without a prior run its sibling in this group was refused, or retention removed it in this very moment.
          answers.push(
            prior[0] === undefined
              ? Exit.fail(yield* errorOf(item, row, refusal ?? "namespace full"))
              : Exit.succeed(toRun(prior[0], now)),
          )
        }
      }
      if (rows.some((row) => row.id !== null)) {
        yield* hub.wake
        yield* outbox.wake
      }
      return answers
    })

  const grouped = yield* makeGroupCommit<Submission & { readonly id: RunId }, Run, SubmitError>({
    name: "RunRepository.submit.group",
    maxItems: 128,
    flights: 1,
    run: accept,
  })

  return Effect.fn("RunRepository.submit")((submission: Submission) =>
    Effect.suspend(() => grouped({ ...submission, id: submission.runId ?? RunId.make(SecureRandom.uuidV7Unsafe()) })),
  )
})

type Refusal = "no namespace" | "no pipeline" | "namespace full" | "pipeline full"

/** Why a submission got no run; undefined when an earlier one has its key. */
const refused = (item: Submission, row: Verdict): Refusal | undefined => {
  if (!row.namespace_known) return "no namespace"
  if (!row.pipeline_known) return "no pipeline"
  if (row.prior_id !== null) return undefined
  if (item.pipelineId !== null && (row.pipeline_place ?? 0) > (row.pipeline_limit ?? 0)) return "pipeline full"
  if ((row.namespace_place ?? 0) > (row.namespace_limit ?? 0)) return "namespace full"
  return undefined
}
