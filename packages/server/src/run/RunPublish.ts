import { type LeaseLost, PublishConflict, type RefName, type RefNotFound, type RunId, TableKey } from "@rat/domain"
import { Catalog, type CatalogConflict, type Commit, makeGroupCommit, Rebase } from "@rat/lakehouse"
import { Effect, Exit, Random, Result } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { toJsonb } from "../sql/Jsonb.ts"
import { retryContention } from "../sql/SqlRetry.ts"
import { makePublishIntent } from "./PublishIntent.ts"
import { type Ending, type EndingEvent, makeEnding } from "./RunEnding.ts"

/** How often a publish whose table only got more rows meanwhile is put upon the newer version before it is a conflict. */
const maxRebases = 20

/** Runs published in one transaction, and transactions on their way at once. */
const maxTogether = 64
const flights = 2

/** Publishers of one table on several nodes meet again at different times. */
const pauseAfter = (attempt: number) =>
  Effect.flatMap(Random.next, (share) => Effect.sleep(share * Math.min(250, 5 * 2 ** attempt)))

const tableKeyOf = (table: string): TableKey => {
  const [namespace, layer, name] = table.split(".")
  // Names that the catalog itself gives.
  return new TableKey({ namespace, layer, name } as never, { disableChecks: true })
}

/** A run whose work is done, and the branch that has it. */
export interface Publishing {
  readonly ending: Ending
  readonly branch: RefName
}

interface Held {
  readonly id: RunId
  readonly token: string
  readonly namespace: string
  readonly table: string
}

type Refusal = CatalogConflict | RefNotFound

/**
 * Publishes: main moves, the run ends and the events are appended together. Runs that publish at about the same time share one
 * transaction; each is done or refused by itself. The guard comes first and locks the runs, so a lost lease never touches main.
 */
export const makePublish = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const catalog = yield* Catalog
  const rebase = yield* Rebase
  const intents = yield* makePublishIntent
  const { answer, confirm, end } = yield* makeEnding

  const hold = (items: ReadonlyArray<Publishing>) => {
    const input = toJsonb(
      items.map(({ ending: { lease } }) => ({ id: lease.runId, token: lease.fencingToken.toString() })),
    )
    return sql<Held>`
      select
        r.id, r.fencing_token::text as token, r.namespace,
        concat_ws('.', r.namespace, r.layer, r.pipeline) as table
      from run r
      where r.status = 'running' and (r.id, r.fencing_token) in (
        select i.id, i.token from jsonb_to_recordset(${input}::jsonb) as i (id uuid, token bigint))
      order by r.id
      for no key update`
  }

  const mergeOf = (held: Held, branch: RefName) => ({
    branch,
    message: `publish ${held.table}`,
    author: "rat",
    runId: held.id as string,
  })

  const publishedEvents = (held: Held, ending: Ending, commit: Commit | null): ReadonlyArray<EndingEvent> =>
    commit === null
      ? []
      : [
          {
            runId: held.id,
            key: held.table,
            type: "table.published",
            namespace: held.namespace,
            payload: {
              run_id: held.id,
              table: held.table,
              snapshot_id: ending.snapshotId,
              commit_id: commit.id.toString(),
              rows_written: ending.rowsWritten,
            },
          },
        ]

  /** One transaction: which runs are held, the merges, and the ends of those whose merge was done. */
  const publishTogether = (items: ReadonlyArray<Publishing>) =>
    Effect.gen(function* () {
      const held = new Map((yield* hold(items)).map((row) => [row.id, row]))
      const refused = new Map<RunId, Refusal>()
      const ready = [...new Map(items.map((item) => [item.ending.lease.runId, item])).values()].flatMap((item) => {
        const row = held.get(item.ending.lease.runId)
        return row?.token === item.ending.lease.fencingToken.toString() ? [{ ...item, row }] : []
      })
      if (ready.length === 0) return { rows: [], refused }
      const merged = yield* catalog.mergeMany(ready.map(({ row, branch }) => mergeOf(row, branch)))
      const done: Array<Ending> = []
      const events: Array<EndingEvent> = []
      for (const [index, { ending, row }] of ready.entries()) {
        const result = merged[index]!
        if (Result.isFailure(result)) refused.set(row.id, result.failure)
        else {
          done.push(ending)
          events.push(...publishedEvents(row, ending, result.success))
        }
      }
      if (done.length === 0) return { rows: [], refused }
      const rows = yield* end(done, { isBare: false, events })
      // They were locked: main must not move without its run.
      if (rows.length !== done.length) return yield* Effect.die(new Error("A run that was held did not end."))
      return { rows, refused }
    }).pipe(sql.withTransaction, retryContention)

  const publishGrouped = yield* makeGroupCommit<Publishing, void, Refusal | LeaseLost>({
    name: "RunRepository.publish.group",
    maxItems: maxTogether,
    flights,
    run: (items) =>
      Effect.gen(function* () {
        const { rows, refused } = yield* publishTogether(items)
        const others = items.filter(({ ending }) => !refused.has(ending.lease.runId)).map(({ ending }) => ending)
        const answers = yield* answer(others, rows)
        return items.map(({ ending }): Exit.Exit<void, Refusal | LeaseLost> => {
          const refusal = refused.get(ending.lease.runId)
          return refusal === undefined ? answers[others.indexOf(ending)]! : Exit.fail(refusal)
        })
      }),
  })

  /** With a catalog elsewhere: intent, merge, end. Each step may be repeated, and whoever finds the intent goes on with it. */
  const publishInSteps = ({
    ending,
    branch,
  }: Publishing): Effect.Effect<void, Refusal | LeaseLost | SqlError.SqlError> =>
    Effect.gen(function* () {
      const { lease } = ending
      const held = yield* intents
        .begin(lease, { ...ending, lease: undefined, branch })
        .pipe(Effect.catchTag("LeaseLost", () => Effect.as(confirm(lease, ending.status), null)))
      if (held === null) return
      const row: Held = { ...held, id: lease.runId, token: lease.fencingToken.toString() }
      const { branch: _, ...options } = mergeOf(row, branch)
      const commit = yield* catalog.merge(branch, options)
      const rows = yield* retryContention(
        end([ending], { isBare: false, events: publishedEvents(row, ending, commit) }),
      )
      const [answered] = yield* answer([ending], rows)
      yield* answered!
    })

  const once = catalog.joinsTransactions ? publishGrouped : publishInSteps

  /** Where both sides only added rows, the run's rows are put upon main's version instead of being computed again. */
  const rebased = (
    item: Publishing,
    tables: ReadonlyArray<string>,
    attempt: number,
  ): Effect.Effect<void, LeaseLost | PublishConflict | RefNotFound | SqlError.SqlError> =>
    Effect.gen(function* () {
      const { lease } = item.ending
      const reasons =
        attempt < maxRebases
          ? yield* rebase.branch(item.branch, tables.map(tableKeyOf))
          : [{ reason: "too many tries" }]
      if (reasons.length > 0) {
        yield* Effect.logInfo("A run's changes do not fit what its table is now").pipe(
          Effect.annotateLogs({ run_id: lease.runId, reason: reasons[0]!.reason }),
        )
        if (!catalog.joinsTransactions) yield* intents.withdraw(lease)
        return yield* new PublishConflict({ runId: lease.runId, tables })
      }
      yield* once(item).pipe(
        Effect.catchTag("CatalogConflict", (again) =>
          Effect.andThen(pauseAfter(attempt), rebased(item, again.tables, attempt + 1)),
        ),
      )
    })

  const publish = (item: Publishing): Effect.Effect<void, LeaseLost | PublishConflict | SqlError.SqlError> =>
    once(item).pipe(
      // Those of one table take turns, so that nobody rebases in vain and nobody starves.
      Effect.catchTag("CatalogConflict", ({ tables }) => rebase.inTurn(tables, rebased(item, tables, 0))),
      // Only the end of its run ends a run's branch: somebody deleted it by hand, or the runner named a wrong one.
      Effect.catchTag("RefNotFound", (missing) => Effect.die(missing)),
    )

  return {
    publish,

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
          return publish({ ending: { ...rest, lease }, branch }).pipe(
            // Another node was quicker.
            Effect.catchTags({ LeaseLost: () => Effect.void, PublishConflict: () => Effect.void }),
          )
        },
        { discard: true },
      )
      return found.length
    }),
  }
})
