import { type Lease, LeaseLost, LogEntry, type Phase, type PhaseTiming, type RunId } from "@rat/domain"
import { makeGroupCommit } from "@rat/lakehouse"
import { Effect, Exit, type Schema } from "effect"
import { SqlClient } from "effect/sql"
import { toJsonb } from "../sql/Jsonb.ts"
import { retryContention } from "../sql/SqlRetry.ts"
import { maxCheckpoint, storeCheckpoints } from "./RunCheckpoint.ts"
import { RunHub } from "./RunHub.ts"
import { linesOf, writeLines } from "./RunLines.ts"
import { RunSettings } from "./RunSettings.ts"

/** What an attempt tells of its progress. Its lines are numbered from one within the attempt. */
export interface Progress {
  readonly lease: Lease
  readonly phase: Phase | null
  readonly logs: ReadonlyArray<LogEntry>
  /** What the next attempt can go on from; absent: nothing new. */
  readonly checkpoint?: Schema.Json | undefined
}

/**
 * Writes phase and log lines of running attempts, many runs in one statement. Repeating a report changes nothing. The
 * live view is told after the commit.
 */
export const makeReport = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const settings = yield* RunSettings
  const hub = yield* RunHub

  const write = (items: ReadonlyArray<Progress>) => {
    const moves = toJsonb(
      items.map(({ lease, phase }, ord) => ({ ord, id: lease.runId, token: lease.fencingToken.toString(), phase })),
    )
    const lines = toJsonb(items.flatMap(({ lease, logs }) => linesOf(lease, logs)))
    const checkpoints = items.flatMap(({ lease, checkpoint }, ord) =>
      checkpoint === undefined ? [] : [{ run_id: lease.runId, token: lease.fencingToken.toString(), ord, checkpoint }],
    )
    return sql<{ readonly id: RunId; readonly token: string; readonly log_base: number }>`
      with input as (
        select * from jsonb_to_recordset(${moves}::jsonb) as i (ord integer, id uuid, token bigint, phase text)
      ),
      held as (
        select r.id, r.attempt, r.log_base, r.fencing_token
        from run r
        where r.status = 'running'
          and exists (select 1 from input i where i.id = r.id and i.token = r.fencing_token)
        order by r.id
        for no key update of r
      ),
      moved as (
        -- In the attempt's row, which is small: the run's holds its code and is in many indexes.
        update run_attempt a
        set phase = latest.phase
        from (
          select distinct on (i.id) i.id, h.attempt, i.phase
          from input i
          join held h on h.id = i.id and h.fencing_token = i.token
          where i.phase is not null
          order by i.id, i.ord desc
        ) as latest
        where a.run_id = latest.id and a.attempt = latest.attempt and a.phase is distinct from latest.phase
      ),
      written as (
        ${writeLines(sql, lines, { held: "held", maxLogLines: settings.maxLogLines })}
      )
      ${checkpoints.length === 0 ? sql.literal("") : sql`, kept as (${storeCheckpoints(sql, toJsonb(checkpoints))})`}
      select id, fencing_token::text as token, log_base from held`
  }

  const reportAll = (items: ReadonlyArray<Progress>) =>
    Effect.gen(function* () {
      const rows = yield* retryContention(write(items))
      const held = new Map(rows.map((row) => [row.id, row]))
      const answers: Array<Exit.Exit<void, LeaseLost>> = []
      for (const { lease, logs } of items) {
        const row = held.get(lease.runId)
        if (row === undefined || row.token !== lease.fencingToken.toString()) {
          answers.push(Exit.fail(new LeaseLost({ runId: lease.runId, attempt: lease.attempt })))
          continue
        }
        answers.push(Exit.void)
        const entries = logs
          .filter((entry) => row.log_base + entry.seq < settings.maxLogLines)
          .map((entry) => new LogEntry({ ...entry, seq: row.log_base + entry.seq }))
        if (entries.length > 0) yield* hub.tell(lease.runId, { _tag: "Log", entries })
      }
      return answers
    })

  const grouped = yield* makeGroupCommit<Progress, void, LeaseLost>({
    name: "RunRepository.report.group",
    maxItems: 128,
    // Two on their way could arrive in the wrong order and set the phase back.
    flights: 1,
    run: reportAll,
  })

  return {
    report: Effect.fn("RunRepository.report")(function* (progress: Progress) {
      const { checkpoint, ...rest } = progress
      if (checkpoint === undefined || JSON.stringify(checkpoint).length <= maxCheckpoint)
        return yield* grouped(progress)
      yield* Effect.logWarning("A checkpoint is too long to be kept: a new attempt goes on from an earlier one").pipe(
        Effect.annotateLogs({ run_id: progress.lease.runId, attempt: progress.lease.attempt }),
      )
      return yield* grouped(rest)
    }),

    /** Last words of an attempt whose run is already cancelled. Anybody else's are ignored. */
    stopped: Effect.fn("RunRepository.stopped")(function* (
      lease: Lease,
      phases: ReadonlyArray<PhaseTiming>,
      logs: ReadonlyArray<LogEntry>,
    ) {
      const lines = toJsonb(linesOf(lease, logs))
      const timings = toJsonb(phases)
      const rows = yield* sql<{ readonly branch: string | null }>`
        with ended as (
          update run r
          set phases = ${timings}::jsonb
          where r.id = ${lease.runId} and r.status = 'cancelled' and r.fencing_token = ${lease.fencingToken}
          returning r.id, r.attempt, r.log_base, r.branch
        ),
        written as (
          insert into run_log (run_id, seq, attempt, at, level, phase, message)
          select e.id, e.log_base + l.seq, e.attempt, l.at, l.level, l.phase, l.message
          from jsonb_to_recordset(${lines}::jsonb) as l (
            run_id uuid, seq integer, at timestamptz, level text, phase text, message text)
          join ended e on e.id = l.run_id
          where e.log_base + l.seq <= ${settings.maxLogLines}::integer
          on conflict (run_id, seq) do nothing
        )
        select branch from ended`
      return rows[0]?.branch ?? null
    }),
  }
})
