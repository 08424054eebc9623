import { readdirSync, readFileSync } from "node:fs"
import { Catalog, ObjectStore } from "@rat/lakehouse"
import { Context, Effect, Layer } from "effect"

/**
 * Steps of a run before which a test may do something. `lateCommit` cannot be interrupted until the commit is made, as
 * when a node does not know yet that its lease is gone; `committed` is right after it.
 */
export type Step = "createBranch" | "readTable" | "putFile" | "commit" | "lateCommit" | "committed"

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
          holdBranch: (...args) => Effect.andThen(before("createBranch"), catalog.holdBranch(...args)),
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
          putFile: (...args) => Effect.andThen(before("putFile"), store.putFile(...args)),
        }),
      ),
    )
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
