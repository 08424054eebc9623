import {
  Catalog,
  IcebergTable,
  isPostgresOutage,
  ObjectStore,
  ScanPlanner,
  StoreUnavailable,
  untilReconnected,
} from "@rat/lakehouse"
import { Context, Effect } from "effect"
import { SqlError } from "effect/sql"
import type { RunLog } from "./RunLog.ts"

/** Rolled back in favour of another transaction: the next try finds the way free. */
const contention = new Set(["DeadlockError", "SerializationError", "LockTimeoutError"])

/** What every run needs was away: nothing that the run did, and nothing that it can do but wait. Told by type, never by text. */
export const isOutage = (error: unknown): boolean =>
  error instanceof StoreUnavailable
    ? error.isOutage === true
    : SqlError.isSqlError(error) && (isPostgresOutage(error) || contention.has(error.reason._tag))

export interface Patience {
  /**
   * Repeats a call as long as it meets an outage; whoever waits sets the limit (a run's timeout). For calls that may be repeated after
   * a lost answer.
   */
  readonly patiently: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** The outage that a call waits for right now; null while none does. */
  readonly waitsFor: () => StoreUnavailable | SqlError.SqlError | null
}

/** Of one attempt, which says once in its log that it waits, and once more when it goes on, however many of its calls wait. */
export const makePatience = (log: Pick<RunLog, "add">): Patience => {
  let waiting = 0
  let outage: ReturnType<Patience["waitsFor"]> = null
  const patiently: Patience["patiently"] = (effect) =>
    Effect.suspend(() => {
      let waits = false
      const told = Effect.tapError(effect, (error) =>
        Effect.sync(() => {
          if (waits || !isOutage(error)) return
          waits = true
          if (waiting++ > 0) return
          outage = error as ReturnType<Patience["waitsFor"]>
          const what = error instanceof StoreUnavailable ? error.message : "The catalog's database does not answer."
          log.add("warn", `${what} The run waits for it.`)
        }),
      )
      return Effect.retry(told, { schedule: untilReconnected, while: isOutage }).pipe(
        Effect.onExit((exit) =>
          Effect.sync(() => {
            if (!waits || --waiting > 0) return
            if (exit._tag === "Failure") return
            outage = null
            log.add("info", "It answers again; the run goes on.")
          }),
        ),
      )
    })
  return { patiently, waitsFor: () => outage }
}

/** The lakehouse for one attempt: outages make its calls take longer instead of ending it. */
export const patientLakehouse = Effect.fnUntraced(function* ({ patiently }: Patience) {
  const catalog = yield* Catalog
  const tables = yield* IcebergTable
  const planner = yield* ScanPlanner
  const store = yield* ObjectStore
  return Context.empty().pipe(
    Context.add(
      Catalog,
      Catalog.of({
        ...catalog,
        holdBranch: (...args) => patiently(catalog.holdBranch(...args)),
        table: (...args) => patiently(catalog.table(...args)),
        tables: (...args) => patiently(catalog.tables(...args)),
        commitHeld: (...args) => patiently(catalog.commitHeld(...args)),
      }),
    ),
    Context.add(
      IcebergTable,
      IcebergTable.of({
        ...tables,
        load: (...args) => patiently(tables.load(...args)),
        commit: (...args) => patiently(tables.commit(...args)),
      }),
    ),
    Context.add(
      ScanPlanner,
      ScanPlanner.of({
        ...planner,
        plan: (...args) => patiently(planner.plan(...args)),
        localPath: (...args) => patiently(planner.localPath(...args)),
      }),
    ),
    Context.add(
      ObjectStore,
      ObjectStore.of({
        ...store,
        localPath: (...args) => patiently(store.localPath(...args)),
        // A disk that could not keep a file may have lost what it was given: the attempt ends, and the next one writes anew.
        putFile: (...args) => (store.kind === "file" ? store.putFile(...args) : patiently(store.putFile(...args))),
      }),
    ),
  )
})
