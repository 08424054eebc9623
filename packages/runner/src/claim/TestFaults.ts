import { readdirSync, readFileSync } from "node:fs"
import { Catalog, IcebergTable, ObjectStore, StoreUnavailable } from "@rat/lakehouse"
import { Context, Effect, Layer } from "effect"
import { SqlError } from "effect/sql"

/**
 * Steps of a run before which a test may do something: in the order of a run, each call and what comes right after it. `lateCommit` cannot
 * be interrupted until the commit is made, as when a node does not know yet that its lease is gone.
 */
export const steps = [
  "createBranch",
  "branchHeld",
  "readTable",
  "putFile",
  "fileStored",
  "makeSnapshot",
  "snapshotMade",
  "lateCommit",
  "commit",
  "committed",
] as const
export type Step = (typeof steps)[number]

/** What tests do between the steps of a run; the services themselves are the real ones. */
export class TestFaults extends Context.Service<
  TestFaults,
  {
    /** Happens once, before the next call of the step. */
    readonly once: (step: Step, effect: Effect.Effect<void>) => void
    readonly before: (step: Step) => Effect.Effect<void>
    /** Whether the store, or the catalog's database, answers no call from now on. */
    readonly away: (what: "store" | "catalog", isAway: boolean) => void
    readonly isAway: (what: "store" | "catalog") => boolean
  }
>()("rat/runner/claim/TestFaults") {
  static readonly layer = Layer.sync(TestFaults, () => {
    const effects = new Map<Step, Effect.Effect<void>>()
    const gone = new Set<"store" | "catalog">()
    return TestFaults.of({
      once: (step, effect) => effects.set(step, effect),
      before: (step) =>
        Effect.suspend(() => {
          const effect = effects.get(step) ?? Effect.void
          effects.delete(step)
          return effect
        }),
      away: (what, now) => void (now ? gone.add(what) : gone.delete(what)),
      isAway: (what) => gone.has(what),
    })
  })
}

/** The store and the catalog, with the steps that `TestFaults` knows of. */
export const withFaults = Layer.effectContext(
  Effect.gen(function* () {
    const { before, isAway } = yield* TestFaults
    const catalog = yield* Catalog
    const store = yield* ObjectStore
    const stored = <A, E, R>(key: string, effect: Effect.Effect<A, E, R>) =>
      Effect.suspend(
        (): Effect.Effect<A, E | StoreUnavailable, R> =>
          isAway("store") ? Effect.fail(new StoreUnavailable({ key, reason: "it is away.", isOutage: true })) : effect,
      )
    const asked = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.suspend(
        (): Effect.Effect<A, E | SqlError.SqlError, R> =>
          isAway("catalog")
            ? Effect.fail(new SqlError.SqlError({ reason: new SqlError.ConnectionError({ cause: new Error("away") }) }))
            : effect,
      )
    return Context.empty().pipe(
      Context.add(
        Catalog,
        Catalog.of({
          ...catalog,
          holdBranch: (...args) =>
            Effect.andThen(before("createBranch"), asked(catalog.holdBranch(...args))).pipe(
              Effect.tap(() => before("branchHeld")),
            ),
          table: (...args) => Effect.andThen(before("readTable"), asked(catalog.table(...args))),
          commitHeld: (...args) =>
            Effect.andThen(before("lateCommit"), asked(catalog.commitHeld(...args))).pipe(
              Effect.uninterruptible,
              (late) => Effect.andThen(before("commit"), late),
              Effect.tap(() => before("committed")),
            ),
        }),
      ),
      Context.add(
        ObjectStore,
        ObjectStore.of({
          ...store,
          // Files of a disk that failed are not stored again; those of a server that was away are.
          kind: "s3",
          putFile: (...args) =>
            Effect.andThen(before("putFile"), stored(args[0], store.putFile(...args))).pipe(
              Effect.tap(() => before("fileStored")),
            ),
          get: (key) => stored(key, store.get(key)),
          put: (...args) => stored(args[0], store.put(...args)),
          localPath: (key) => stored(key, store.localPath(key)),
        }),
      ),
    )
  }),
)

/** The same for the making of table versions, which reads and writes through the store below. */
export const withTableFaults = Layer.effect(
  IcebergTable,
  Effect.gen(function* () {
    const { before } = yield* TestFaults
    const tables = yield* IcebergTable
    return IcebergTable.of({
      ...tables,
      commit: (...args) =>
        Effect.andThen(before("makeSnapshot"), tables.commit(...args)).pipe(Effect.tap(() => before("snapshotMade"))),
    })
  }),
)

/** Ids of the slot processes that this process has started (Linux). */
export const slotProcesses = (): ReadonlyArray<number> =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const parent = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ")[1]
        return Number(parent) === process.pid && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("RunnerSlot")
      } catch {
        return false // it ended while we looked
      }
    })
    .map(Number)

export const killSlots = Effect.sync(() => {
  for (const pid of slotProcesses()) process.kill(pid, "SIGKILL")
})
