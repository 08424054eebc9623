import {
  type NamespaceName,
  NamespaceNotFound,
  type PipelineId,
  PipelineNotFound,
  QueueFull,
  type Run,
  RunId,
  type RunKind,
} from "@rat/domain"
import { makeGroupCommit } from "@rat/lakehouse"
import { Clock, Effect, Exit } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { toJsonb } from "../sql/Jsonb.ts"
import { retryContention } from "../sql/SqlRetry.ts"
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
  readonly namespace_place: number | null
  readonly pipeline_place: number | null
}

/** Seconds after which a refused submission may find room: a guess, since runs take as long as they take. */
const retryAfterSeconds = 2

/**
 * Accepts runs: limits, idempotency key, snapshot of the code and event are one statement for a whole group. Groups go
 * one after the other, so the limits are exact on this node; several nodes that submit to one namespace in the same
 * instant may exceed its limit by what is on its way.
 */
export const makeSubmit = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const settings = yield* RunSettings
  const outbox = yield* Outbox
  const hub = yield* RunHub

  const insert = (items: ReadonlyArray<Submission & { readonly id: RunId }>) => {
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
      })),
    )
    return sql<Verdict & (RunRow | { readonly id: null })>`
      with input as (
        select *
        from jsonb_to_recordset(${input}::jsonb) as i (
          ord integer, id uuid, kind text, namespace text, pipeline_id uuid, trigger text, idempotency_key text,
          traceparent text)
      ),
      target as (
        select
          i.*, p.layer, p.name as pipeline, p.type as pipeline_type,
          n.name is not null as namespace_known,
          i.pipeline_id is null or (p.id is not null and p.deleted_at is null) as pipeline_known,
          prior.id as prior_id
        from input i
        left join namespace n on n.name = i.namespace
        left join pipeline p on p.id = i.pipeline_id and p.namespace = i.namespace
        left join run prior on prior.namespace = i.namespace and prior.idempotency_key = i.idempotency_key
      ),
      pending_here as (
        select known.namespace, count(waiting.id) as runs
        from (select distinct namespace from input) as known
        left join lateral (
          select q.id from run q
          where q.status = 'queued' and q.namespace = known.namespace
          limit ${settings.maxPendingPerNamespace}::integer
        ) as waiting on true
        group by known.namespace
      ),
      pending_pipeline as (
        select known.pipeline_id, count(q.id) as runs
        from (select distinct pipeline_id from input where pipeline_id is not null) as known
        left join run q on q.status = 'queued' and q.pipeline_id = known.pipeline_id
        group by known.pipeline_id
      ),
      wanted as (
        select
          t.*,
          h.runs + row_number() over (partition by t.namespace order by t.ord) as namespace_place,
          l.runs + row_number() over (partition by t.pipeline_id order by t.ord) as pipeline_place
        from target t
        join pending_here h on h.namespace = t.namespace
        left join pending_pipeline l on l.pipeline_id = t.pipeline_id
        where t.prior_id is null and t.namespace_known and t.pipeline_known
          -- The same key twice in one group is one run, and takes one place.
          and not exists (
            select 1 from input o
            where o.namespace = t.namespace and o.idempotency_key = t.idempotency_key and o.ord < t.ord)
      ),
      accepted as (
        select *
        from wanted w
        where w.namespace_place <= ${settings.maxPendingPerNamespace}::integer
          and (w.pipeline_id is null or w.pipeline_place <= ${settings.maxPendingPerPipeline}::integer)
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
            12) as version
        from accepted a
        left join lateral (
          select substr(file.path, length(folder.prefix) + 1) collate "C" as relative, file.hash
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
          code_version, code_files)
        select
          a.id, a.kind, a.namespace, a.pipeline_id, a.layer, a.pipeline, a.pipeline_type, a.trigger, a.idempotency_key,
          a.traceparent, c.version, coalesce(c.files, '[]')
        from accepted a
        left join code c on c.id = a.id
        on conflict (namespace, idempotency_key) where idempotency_key is not null do nothing
        returning r.*
      ),
      announced as (${announce(sql, "inserted")})
      select
        t.ord, t.namespace_known, t.pipeline_known, t.prior_id, t.layer as target_layer, t.pipeline as target_name,
        w.namespace_place::integer as namespace_place, w.pipeline_place::integer as pipeline_place,
        w.namespace_place::integer as queue_position,
        ${sql.literal(runColumns)}
      from target t
      left join wanted w on w.ord = t.ord
      left join inserted r on r.id = t.id
      order by t.ord`
  }

  const findPrior = (item: Submission) =>
    sql<RunRow>`
      select ${sql.literal(runColumns)}, null as queue_position
      from run r
      where r.namespace = ${item.namespace} and r.idempotency_key = ${item.idempotencyKey}`

  const accept = (items: ReadonlyArray<Submission & { readonly id: RunId }>) =>
    Effect.gen(function* () {
      const rows = yield* retryContention(insert(items))
      const now = yield* Clock.currentTimeMillis
      const answers: Array<Exit.Exit<Run, SubmitError>> = []
      for (const row of rows) {
        const item = items[row.ord]!
        if (row.id !== null) answers.push(Exit.succeed(toRun(row, now)))
        else {
          const refusal = refused(item, row, settings)
          const prior = refusal === undefined ? yield* findPrior(item) : []
          // Without a prior run its sibling in this group was refused, or retention removed it in this very moment.
          answers.push(
            prior[0] === undefined
              ? Exit.fail(refusal ?? queueFull("namespace", item.namespace, settings.maxPendingPerNamespace))
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
    Effect.suspend(() => grouped({ ...submission, id: RunId.make(SecureRandom.uuidV7Unsafe()) })),
  )
})

const queueFull = (scope: "pipeline" | "namespace", name: string, limit: number) =>
  new QueueFull({ scope, name, limit, retryAfterSeconds })

/** Why a submission got no run; undefined when an earlier one has its key. */
const refused = (
  item: Submission,
  row: Verdict,
  settings: { readonly maxPendingPerNamespace: number; readonly maxPendingPerPipeline: number },
): SubmitError | undefined => {
  if (!row.namespace_known) return new NamespaceNotFound({ namespace: item.namespace })
  if (!row.pipeline_known) {
    const [layer, name] = [row.target_layer ?? "?", row.target_name ?? `${item.pipelineId}`]
    return new PipelineNotFound({ namespace: item.namespace, layer, name })
  }
  if (row.prior_id !== null) return undefined
  if ((row.namespace_place ?? 0) > settings.maxPendingPerNamespace) {
    return queueFull("namespace", item.namespace, settings.maxPendingPerNamespace)
  }
  if (item.pipelineId !== null && (row.pipeline_place ?? 0) > settings.maxPendingPerPipeline) {
    const name = `${item.namespace}.${row.target_layer}.${row.target_name}`
    return queueFull("pipeline", name, settings.maxPendingPerPipeline)
  }
  return undefined
}
