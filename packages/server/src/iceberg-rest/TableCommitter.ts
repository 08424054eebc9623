import { randomUUID } from "node:crypto"
import { mainRef, type RefName, type TableKey } from "@rat/domain"
import {
  Catalog,
  type Commit,
  IcebergTable,
  isPostgresOutage,
  type TableChange,
  untilReconnected,
} from "@rat/lakehouse"
import { Effect } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { outlastOutage, retryContention } from "../sql/SqlRetry.ts"
import { encodeAnswer, type RestAnswer, type RestCall } from "./RestCall.ts"
import { type RestFailure, refuse } from "./RestFailure.ts"

/** A request that a commit answers. */
export interface Answered {
  readonly idempotencyKey: string | null
  readonly answer: RestAnswer
}

/** Where a commit goes, and who made it. */
export type Origin = Pick<RestCall, "ref" | "author">

/** A change of one table, its files written, ready for the catalog. */
export interface PreparedChange {
  readonly key: TableKey
  readonly expected: string | null
  readonly next: TableChange["next"]
  /** What happened, for the history. */
  readonly message: string
  /** Rows that the change added, for the event. */
  readonly rowsAdded: number | null
}

/** The roll-back of a transaction whose session has ended dies of that: it is the outage that it is. */
const outageNotDefect = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError.SqlError, R> =>
  Effect.catchDefect(effect, (defect) => (SqlError.isSqlError(defect) ? Effect.fail(defect) : Effect.die(defect)))

const isOutage = (error: { readonly _tag: string }): boolean =>
  error._tag === "SqlError" && isPostgresOutage(error as SqlError.SqlError)

/**
 * Moves the catalog's pointers: all changes of a request or none, together with their events and the mark of the request's
 * idempotency key. Commits made here appear in history and events like those of runs.
 */
export const makeTableCommitter = Effect.gen(function* () {
  const catalog = yield* Catalog
  const tables = yield* IcebergTable
  const outbox = yield* Outbox
  const sql = yield* SqlClient.SqlClient

  const markDone = Effect.fnUntraced(function* ({ answer, idempotencyKey }: Answered) {
    if (idempotencyKey === null) return
    yield* sql`
      update iceberg_request
      set status = ${answer.kind === "empty" ? answer.status : 200}, answer = ${encodeAnswer(answer)}
      where key = ${idempotencyKey}`
  })

  const eventsOf = (changes: ReadonlyArray<PreparedChange>, commitId: string, author: string) =>
    changes.map(({ key, next, rowsAdded }) => ({
      key: key.toString(),
      type: "table.published" as const,
      namespace: key.namespace,
      payload: {
        run_id: null,
        table: key.toString(),
        snapshot_id: next?.snapshotId ?? null,
        commit_id: commitId,
        rows_written: rowsAdded,
        author,
        ...(next === null ? { dropped: true } : {}),
      },
    }))

  const commitOnce = (
    { author, ref }: Origin,
    changes: ReadonlyArray<PreparedChange>,
    answered: ReadonlyArray<Answered>,
    first: Effect.Effect<void, RestFailure | SqlError.SqlError>,
  ) => {
    const moved = catalog.commit(ref, {
      message: changes.map(({ message }) => message).join("; "),
      author,
      runId: null,
      changes: changes.map(({ key, expected, next }) => ({ key, expected, next })),
    })
    const told = Effect.fnUntraced(function* (commit: Commit) {
      // Of a branch's changes a trigger tells, of its tables the merge.
      yield* ref === mainRef ? outbox.append(eventsOf(changes, commit.id.toString(), author)) : outbox.wake
      yield* Effect.forEach(answered, markDone, { discard: true })
    })
    if (catalog.joinsTransactions) {
      return Effect.andThen(first, Effect.flatMap(moved, told)).pipe(
        sql.withTransaction,
        outageNotDefect,
        retryContention,
      )
    }
    // What such a catalog did stays done: a failure to tell of it is not a failed commit.
    return Effect.andThen(sql.withTransaction(first), moved).pipe(
      Effect.flatMap((commit) =>
        told(commit).pipe(
          sql.withTransaction,
          outlastOutage,
          Effect.catch((error) => Effect.logError("a commit of the catalog has no event", error)),
        ),
      ),
    )
  }

  /** Whether the ref shows our versions: the pointer itself, or a later version that grew out of it. */
  const isThere = Effect.fnUntraced(function* (ref: RefName, changes: ReadonlyArray<PreparedChange>) {
    for (const { key, next } of changes) {
      const pointer = yield* catalog.table(ref, key)
      if (next === null ? pointer === null : pointer?.metadataLocation === next.metadataLocation) continue
      if (next === null || pointer === null) return false
      const { metadataLog } = yield* tables.load(pointer.metadataLocation)
      if (!metadataLog.some(({ metadataFile }) => metadataFile === next.metadataLocation)) return false
    }
    return true
  })

  /**
   * `CatalogConflict`: nothing was changed. `first` runs in the same transaction, before the pointers move. When Postgres goes
   * away the transaction is repeated: it waits for one that may still be under way and then sees what became of it. Only when that
   * gives no answer either, the state is reported as unknown.
   */
  const commit = Effect.fn("TableCommitter.commit")(function* (
    origin: Origin,
    changes: ReadonlyArray<PreparedChange>,
    answered: ReadonlyArray<Answered>,
    first: Effect.Effect<void, RestFailure | SqlError.SqlError>,
  ) {
    let isRepeat = false
    return yield* commitOnce(origin, changes, answered, first).pipe(
      Effect.tapError((error) =>
        Effect.sync(() => {
          isRepeat ||= isOutage(error)
        }),
      ),
      Effect.retry({ schedule: untilReconnected, times: 10, while: isOutage }),
      Effect.catchTag("CatalogConflict", (conflict) =>
        Effect.flatMap(isRepeat ? isThere(origin.ref, changes) : Effect.succeed(false), (there) =>
          there ? Effect.void : Effect.fail(conflict),
        ),
      ),
      Effect.catchTag("SqlError", (error) =>
        Effect.fail(
          isOutage(error)
            ? refuse(
                "CommitStateUnknownException",
                "The database went away while the commit was made, so whether it was is not known. Load the table before trying again.",
              )
            : error,
        ),
      ),
    )
  })

  return { commit, newId: () => randomUUID() }
})

export type TableCommitter = Effect.Success<typeof makeTableCommitter>
