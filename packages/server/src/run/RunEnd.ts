import {
  type Lease,
  LeaseLost,
  type NamespaceName,
  type Phase,
  type PipelineId,
  PublishConflict,
  RefName,
  type RefNotFound,
  type RunFailure,
  type RunId,
  type RunOutcome,
  type RunStatus,
  TableKey,
  toWireStatus,
} from "@rat/domain"
import { Catalog, type CatalogConflict, type Commit, makeGroupCommit, Rebase } from "@rat/lakehouse"
import { Effect, Exit, Random } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { describePipelines } from "../pipeline/PipelineDescription.ts"
import { toJsonb } from "../sql/Jsonb.ts"
import { retryContention } from "../sql/SqlRetry.ts"
import { countRun } from "../telemetry/Metrics.ts"
import { makePublishIntent } from "./PublishIntent.ts"
import { makeBranches } from "./RunBranch.ts"
import { announce } from "./RunEvents.ts"
import { RunHub } from "./RunHub.ts"
import { RunSettings } from "./RunSettings.ts"

/** How often a publish whose table only got more rows meanwhile is put upon the newer version before it is a conflict. */
const maxRebases = 20

/** Publishers of one table meet again at different times. */
const pauseAfter = (attempt: number) =>
  Effect.flatMap(Random.next, (share) => Effect.sleep(share * Math.min(250, 5 * 2 ** attempt)))

const tableKeyOf = (table: string): TableKey => {
  const [namespace, layer, name] = table.split(".")
  // Names that the catalog itself gives.
  return new TableKey({ namespace, layer, name } as never, { disableChecks: true })
}

/** How an attempt ends its run. */
interface Ending {
  readonly lease: Lease
  readonly status: "succeeded" | "failed"
  readonly phase: Phase | null
  readonly error: string | null
  readonly errorCode: string | null
  readonly rowsWritten: number | null
  readonly snapshotId: string | null
  readonly landingFileIds: ReadonlyArray<string>
  readonly description: string
  readonly phases: RunOutcome["phases"]
  readonly quality: RunOutcome["quality"]
}

interface Ended {
  readonly id: RunId
  readonly token: string
  readonly namespace: NamespaceName
  readonly pipeline_id: PipelineId | null
  readonly layer: string | null
  readonly pipeline: string | null
  readonly branch: string | null
  /** From the run's first start to its end. */
  readonly took_ms: number
  /** Another run of the pipeline waits and may be claimed now. */
  readonly has_next: boolean
}

/**
 * Ends runs. The guard (running, newest fencing token) is in the statement; attempt, quality results and events join
 * it. Publishing merges the branch in the same transaction, after the guard: a lost lease never touches main.
 */
export const makeEnd = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const settings = yield* RunSettings
  const catalog = yield* Catalog
  const rebase = yield* Rebase
  const outbox = yield* Outbox
  const hub = yield* RunHub
  const branches = yield* makeBranches
  const intents = yield* makePublishIntent

  const end = (items: ReadonlyArray<Ending>) => {
    const input = toJsonb(
      items.map((item) => ({
        id: item.lease.runId,
        token: item.lease.fencingToken.toString(),
        status: item.status,
        phase: item.phase,
        error: item.error,
        error_code: item.errorCode,
        rows_written: item.rowsWritten,
        snapshot_id: item.snapshotId,
        landing_file_ids: item.landingFileIds,
        description: item.description,
        phases: item.phases,
      })),
    )
    const quality = toJsonb(
      items.flatMap((item) => item.quality.map((result) => ({ run_id: item.lease.runId, ...result }))),
    )
    return sql<Ended>`
      with input as (
        select *
        from jsonb_to_recordset(${input}::jsonb) as i (
          id uuid, token bigint, status text, phase text, error text, error_code text, rows_written bigint,
          snapshot_id text, landing_file_ids jsonb, description text, phases jsonb)
      ),
      held as (
        select r.id, i.token
        from run r
        join input i on i.id = r.id
        where r.status = 'running' and r.fencing_token = i.token
          -- What was begun in another catalog may have happened: only its success ends the run.
          and (r.publishing is null or i.status = 'succeeded')
        order by r.id
        for no key update of r
      ),
      ended as (
        update run r
        set status = i.status,
            phase = i.phase,
            error = i.error,
            error_code = i.error_code,
            rows_written = i.rows_written,
            snapshot_id = i.snapshot_id,
            landing_file_ids = i.landing_file_ids,
            phases = i.phases,
            publishing = null,
            lease_owner = null,
            lease_expires_at = null,
            branch = case when i.status = 'failed' then r.branch end,
            branch_expires_at = case
              when i.status = 'failed' and r.branch is not null
              then now() + make_interval(hours => ${settings.branchHours}::integer)
            end,
            finished_at = now()
        from input i
        join held h on h.id = i.id and h.token = i.token
        where r.id = h.id
        returning r.*
      ),
      closed as (
        update run_attempt a
        set ended_at = now(), outcome = e.status
        from ended e
        where a.run_id = e.id and a.attempt = e.attempt
      ),
      described as (${describePipelines(sql)}),
      results as (
        insert into quality_result (
          run_id, name, pipeline_id, status, severity, description, tags, remediation, violations, sample_columns,
          sample_rows, error, duration_ms)
        select
          e.id, q.name, e.pipeline_id, q.status, q.severity, q.description, q.tags, q.remediation, q.violations,
          q.sample_columns, q.sample_rows, q.error, q.duration_ms
        from jsonb_to_recordset(${quality}::jsonb) as q (
          run_id uuid, name text, status text, severity text, description text, tags jsonb, remediation text,
          violations bigint, sample_columns jsonb, sample_rows jsonb, error text, duration_ms double precision)
        join ended e on e.id = q.run_id
        on conflict (run_id, name) do nothing
      ),
      announced as (${announce(sql, "ended")})
      select
        e.id, e.fencing_token::text as token, e.namespace, e.pipeline_id, e.layer, e.pipeline, e.branch,
        (extract(epoch from e.finished_at - e.started_at) * 1000)::float8 as took_ms,
        exists (select 1 from run n where n.status = 'queued' and n.pipeline_id = e.pipeline_id) as has_next
      from ended e`
  }

  const tellEnded = (ended: Ended, status: RunStatus) =>
    hub
      .tell(ended.id, { _tag: "Status", status })
      .pipe(
        Effect.andThen(ended.has_next ? hub.wake : Effect.void),
        Effect.andThen(countRun(toWireStatus(status), ended.took_ms)),
      )

  /** No row was ended: fine if this very attempt did it before and only its answer was lost. */
  const confirmEnded = (item: Ending) =>
    Effect.flatMap(
      sql`
        select 1 from run
        where id = ${item.lease.runId} and status = ${item.status} and fencing_token = ${item.lease.fencingToken}`,
      (rows) =>
        rows.length > 0
          ? Effect.void
          : Effect.fail(new LeaseLost({ runId: item.lease.runId, attempt: item.lease.attempt })),
    )

  const endAll = (items: ReadonlyArray<Ending>) =>
    Effect.gen(function* () {
      const ended = new Map((yield* retryContention(end(items))).map((row) => [row.id, row]))
      if (ended.size > 0) yield* outbox.wake
      return yield* Effect.forEach(items, (item) => {
        const row = ended.get(item.lease.runId)
        return row !== undefined && row.token === item.lease.fencingToken.toString()
          ? Effect.as(tellEnded(row, item.status), Exit.void)
          : confirmEnded(item).pipe(
              Effect.as<Exit.Exit<void, LeaseLost>>(Exit.void),
              Effect.catchTag("LeaseLost", (lost) => Effect.succeed(Exit.fail(lost))),
            )
      })
    })

  /** Runs without a branch end in groups: one statement, one commit for many. */
  const endGrouped = yield* makeGroupCommit<Ending, void, LeaseLost>({
    name: "RunRepository.end.group",
    maxItems: 128,
    flights: 2,
    run: endAll,
  })

  /** Ends one run and does `rest` in the same transaction. Answers null when this attempt had ended it before. */
  const endWith = <E extends { readonly _tag: string }>(
    item: Ending,
    rest: (ended: Ended) => Effect.Effect<void, E>,
  ): Effect.Effect<void, E | LeaseLost | SqlError.SqlError> =>
    Effect.gen(function* () {
      const [ended] = yield* end([item])
      if (ended === undefined) {
        yield* confirmEnded(item)
        return null
      }
      yield* outbox.wake
      yield* rest(ended)
      return ended
    }).pipe(
      sql.withTransaction,
      retryContention,
      Effect.flatMap((ended) => (ended === null ? Effect.void : tellEnded(ended, item.status))),
    )

  const mergeOf = (branch: RefName, id: RunId, table: string) =>
    catalog.merge(branch, { message: `publish ${table}`, author: "rat", runId: id })

  const announcePublish = (commit: Commit | null, table: string, ended: Ended, ending: Ending) =>
    commit === null
      ? Effect.void
      : outbox.append([
          {
            key: table,
            type: "table.published",
            namespace: ended.namespace,
            payload: {
              run_id: ended.id,
              table,
              snapshot_id: ending.snapshotId,
              commit_id: commit.id.toString(),
              rows_written: ending.rowsWritten,
            },
          },
        ])

  type PublishError = CatalogConflict | RefNotFound | LeaseLost | SqlError.SqlError
  const tableOf = (ended: Ended) => `${ended.namespace}.${ended.layer}.${ended.pipeline}`

  /** Main, the run's status and the events move together. */
  const publishAtOnce = (ending: Ending, branch: RefName): Effect.Effect<void, PublishError> =>
    endWith<CatalogConflict | RefNotFound | SqlError.SqlError>(ending, (ended) =>
      Effect.flatMap(mergeOf(branch, ended.id, tableOf(ended)), (commit) =>
        announcePublish(commit, tableOf(ended), ended, ending),
      ),
    )

  /** With a catalog elsewhere: intent, merge, end. Each step may be repeated, and whoever finds the intent goes on with it. */
  const publishInSteps = (ending: Ending, branch: RefName): Effect.Effect<void, PublishError> =>
    Effect.gen(function* () {
      const table = yield* intents
        .begin(ending.lease, { ...ending, lease: undefined, branch })
        .pipe(Effect.catchTag("LeaseLost", () => Effect.as(confirmEnded(ending), null)))
      if (table === null) return
      const commit = yield* mergeOf(branch, ending.lease.runId, table)
      yield* endWith<SqlError.SqlError>(ending, (ended) => announcePublish(commit, tableOf(ended), ended, ending))
    })

  /** Where both sides only added rows, the run's rows are put upon main's version instead of being computed again. */
  const publish = (
    ending: Ending,
    branch: RefName,
    attempt = 0,
  ): Effect.Effect<void, LeaseLost | PublishConflict | SqlError.SqlError> =>
    (catalog.joinsTransactions ? publishAtOnce : publishInSteps)(ending, branch).pipe(
      Effect.catchTag("CatalogConflict", ({ tables }) => {
        const conflict = new PublishConflict({ runId: ending.lease.runId, tables })
        const refuse = catalog.joinsTransactions
          ? Effect.fail(conflict)
          : Effect.andThen(intents.withdraw(ending.lease), Effect.fail(conflict))
        if (attempt >= maxRebases) return refuse
        return Effect.flatMap(rebase.branch(branch, tables.map(tableKeyOf)), (reasons) =>
          reasons.length === 0
            ? Effect.andThen(pauseAfter(attempt), publish(ending, branch, attempt + 1))
            : Effect.andThen(
                Effect.logInfo("A run's changes do not fit what its table is now").pipe(
                  Effect.annotateLogs({ run_id: ending.lease.runId, reason: reasons[0]!.reason }),
                ),
                refuse,
              ),
        )
      }),
      // Only the end of its run ends a run's branch: somebody deleted it by hand, or the runner named a wrong one.
      Effect.catchTag("RefNotFound", (missing) => Effect.die(missing)),
    )

  return {
    /**
     * Publishes and ends a run. Repeating a success of the same attempt is no error. On `PublishConflict` nothing
     * happened: the run is still running and its holder decides.
     */
    succeed: Effect.fn("RunRepository.succeed")(function* (lease: Lease, outcome: RunOutcome) {
      const ending: Ending = {
        lease,
        status: "succeeded",
        phase: null,
        error: null,
        errorCode: null,
        rowsWritten: outcome.rowsWritten,
        snapshotId: outcome.snapshotId,
        landingFileIds: outcome.landingFileIds,
        description: outcome.description,
        phases: outcome.phases,
        quality: outcome.quality,
      }
      if (outcome.branch === null) return yield* endGrouped(ending)
      return yield* publish(ending, RefName.make(outcome.branch))
    }),

    /**
     * Finishes publishes whose node fell silent between two steps; answers with how many. One that is refused now is left to the
     * run's next attempt.
     */
    resumePublishes: Effect.fn("RunRepository.resumePublishes")(function* () {
      const found = yield* intents.unfinished
      yield* Effect.forEach(
        found,
        ({ ending, lease }) => {
          // Written by `publishInSteps` of this or an earlier version.
          const { branch, ...rest } = ending as Omit<Ending, "lease"> & { readonly branch: RefName }
          return publish({ ...rest, lease }, branch).pipe(
            // Another node was quicker.
            Effect.catchTags({ LeaseLost: () => Effect.void, PublishConflict: () => Effect.void }),
          )
        },
        { discard: true },
      )
      return found.length
    }),

    /** Ends a run as failed; its branch stays readable until it expires. */
    fail: Effect.fn("RunRepository.fail")((lease: Lease, failure: RunFailure) =>
      endWith(
        {
          lease,
          status: "failed",
          phase: failure.phase,
          error: failure.error,
          errorCode: failure.code,
          rowsWritten: null,
          snapshotId: null,
          landingFileIds: [],
          description: "",
          phases: failure.phases,
          quality: failure.quality,
        },
        branches.expireOf,
      ),
    ),
  }
})
