import { readdirSync, readFileSync } from "node:fs"
import { Catalog, IcebergTable, ObjectStore } from "@rat/lakehouse"
import { Context, Effect, Layer } from "effect"

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
  }
>()("rat/runner/claim/TestFaults") {
  static readonly layer = Layer.sync(TestFaults, () => {
    const effects = new Map<Step, Effect.Effect<void>>()
    return TestFaults.of({
      once: (step, effect) => effects.set(step, effect),
      before: (step) =>
        Effect.suspend(() => {
          const effect = effects.get(step) ?? Effect.void
          effects.delete(step)
          return effect
        }),
    })
  })
}

/** The store and the catalog, with the steps that `TestFaults` knows of. */
export const withFaults = Layer.effectContext(
  Effect.gen(function* () {
    const { before } = yield* TestFaults
    const catalog = yield* Catalog
    const store = yield* ObjectStore
    return Context.empty().pipe(
      Context.add(
        Catalog,
        Catalog.of({
          ...catalog,
          holdBranch: (...args) =>
            Effect.andThen(before("createBranch"), catalog.holdBranch(...args)).pipe(
              Effect.tap(() => before("branchHeld")),
            ),
          table: (...args) => Effect.andThen(before("readTable"), catalog.table(...args)),
          commitHeld: (...args) =>
            Effect.andThen(before("lateCommit"), catalog.commitHeld(...args)).pipe(
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
          putFile: (...args) =>
            Effect.andThen(before("putFile"), store.putFile(...args)).pipe(Effect.tap(() => before("fileStored"))),
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
