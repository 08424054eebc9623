import { Clock, Effect } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { RunSettings } from "./RunSettings.ts"

/** Rows removed by one statement: short transactions, however much has piled up. */
const maxRemoved = 1000

const dayMs = 86_400_000

/** Keys of repeated requests are remembered this long. */
const idempotencyMs = dayMs

/** The smallest UUIDv7 of a moment: ids below it were made before. */
export const firstUuidAt = (ms: number): string => {
  const hex = Math.max(0, Math.floor(ms)).toString(16).padStart(12, "0")
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7000-8000-000000000000`
}

/** How many rows went, by what they were. */
export interface Removed {
  readonly keys: number
  readonly logLines: number
  readonly attempts: number
  readonly checkpoints: number
  readonly qualityResults: number
  readonly runs: number
  readonly pipelines: number
}

/** Removes what the settings say is too old or too much. Runs that have not ended are never touched. */
export const makeRetention = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const settings = yield* RunSettings

  /** Repeats a statement until it finds fewer rows than it may remove. */
  const drain = <A>(statement: Effect.Effect<ReadonlyArray<A>, SqlError.SqlError>) =>
    Effect.gen(function* () {
      let total = 0
      for (;;) {
        const rows = yield* statement
        total += rows.length
        if (rows.length < maxRemoved) return total
      }
    })

  const before = (now: number, days: number) => firstUuidAt(now - days * dayMs)

  const prune = Effect.fn("RunRepository.prune")(function* () {
    const now = yield* Clock.currentTimeMillis
    const keys = yield* drain(sql`
      update run
      set idempotency_key = null
      where id in (
        select id from run
        where idempotency_key is not null and id < ${firstUuidAt(now - idempotencyMs)}::uuid
        limit ${maxRemoved})
      returning 1`)
    const logLines = yield* drain(sql`
      delete from run_log
      where (run_id, seq) in (
        select l.run_id, l.seq
        from run_log l
        join run r on r.id = l.run_id
        where l.run_id < ${before(now, settings.logsMaxAgeDays)}::uuid and r.finished_at is not null
        limit ${maxRemoved})
      returning 1`)
    // Those of runs that were never claimed, and those that outlived their settings; others go with their branch.
    const checkpoints = yield* drain(sql`
      delete from run_checkpoint
      where run_id in (
        select k.run_id
        from run_checkpoint k
        join run r on r.id = k.run_id
        where r.finished_at is not null and r.branch is null
        limit ${maxRemoved})
      returning 1`)
    const attempts = yield* drain(sql`
      delete from run_attempt
      where (run_id, attempt) in (
        select a.run_id, a.attempt
        from run_attempt a
        join run r on r.id = a.run_id
        where a.run_id < ${before(now, settings.attemptsMaxAgeDays)}::uuid
          and r.finished_at is not null and a.attempt < r.attempt
        limit ${maxRemoved})
      returning 1`)
    const qualityResults = yield* drain(sql`
      delete from quality_result
      where (run_id, name) in (
        select run_id, name
        from (
          select run_id, name, row_number() over (partition by pipeline_id, name order by run_id desc) as age
          from quality_result
        ) as ranked
        where age > ${settings.qualityResultsMaxPerTest}
        limit ${maxRemoved})
      returning 1`)
    const old = yield* drain(sql`
      delete from run
      where id in (
        select id from run
        where id < ${before(now, settings.runsMaxAgeDays)}::uuid and finished_at is not null
        limit ${maxRemoved})
      returning 1`)
    const many = yield* drain(sql`
      delete from run
      where id in (
        select id
        from (
          select id, finished_at, row_number() over (partition by pipeline_id order by id desc) as age
          from run
          where pipeline_id is not null
        ) as ranked
        where age > ${settings.runsMaxPerPipeline} and finished_at is not null
        limit ${maxRemoved})
      returning 1`)
    const pipelines = yield* drain(sql`
      with purged as (
        delete from pipeline
        where id in (
          select p.id from pipeline p
          where p.deleted_at < now() - make_interval(days => ${settings.softDeletePurgeDays}::integer)
            and not exists (select 1 from run r where r.pipeline_id = p.id and r.finished_at is null)
          limit ${maxRemoved})
        returning id
      ),
      history as (delete from run r using purged where r.pipeline_id = purged.id)
      select id from purged`)
    return { keys, logLines, attempts, checkpoints, qualityResults, runs: old + many, pipelines } satisfies Removed
  })

  return { prune }
})
