import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import {
  catalogMigrations,
  FileStore,
  IcebergTable,
  PostgresCatalog,
  ScanPlanner,
  SlotPools,
  TestPostgres,
} from "@rat/lakehouse"
import { type Duration, Effect, Layer } from "effect"
import { RunnerConfig, type RunnerSettings } from "../RunnerConfig.ts"
import { RunnerRole } from "../RunnerRole.ts"
import { CheckSlots } from "../sandbox/RunnerSlots.ts"
import { testControl } from "./TestControl.ts"
import { TestFaults, withFaults, withTableFaults } from "./TestFaults.ts"

/** Folder of one test file's store and slots, removed with the scope. */
const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "rat-runner-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
)

const configured = (path: string, settings: Partial<RunnerSettings>) =>
  Layer.effect(
    RunnerConfig,
    Effect.map(RunnerConfig, (defaults) => RunnerConfig.of({ ...defaults, ...settings })),
  ).pipe(Layer.provide(RunnerConfig.layer({ slotFolder: join(path, "slots"), node: "test" })))

/** What looks at projects, alone. */
export const testCheckSlots = Layer.unwrap(
  Effect.map(folder, (path) =>
    CheckSlots.layer.pipe(Layer.provideMerge(Layer.mergeAll(SlotPools.layer, configured(path, { slots: 1 })))),
  ),
)

interface TestRunnerOptions {
  readonly settings?: Partial<RunnerSettings>
  readonly lease?: Duration.Duration
}

/** Everything that a runner stands on: a real lakehouse (Postgres, files, slot processes), with a control role of the test. */
export const testGround = (options: TestRunnerOptions = {}) =>
  Layer.unwrap(
    Effect.map(folder, (path) => {
      const stores = Layer.mergeAll(
        PostgresCatalog.layer.pipe(Layer.provideMerge(TestPostgres.layer(catalogMigrations))),
        FileStore.layer({ root: join(path, "store") }),
      )
      const lakehouse = ScanPlanner.layer.pipe(
        Layer.provideMerge(withTableFaults),
        Layer.provideMerge(IcebergTable.layer),
        Layer.provideMerge(withFaults),
        Layer.provideMerge(stores),
        Layer.provideMerge(TestFaults.layer),
      )
      return testControl(options.lease).pipe(
        Layer.provideMerge(Layer.mergeAll(lakehouse, configured(path, options.settings ?? {}), SlotPools.layer)),
      )
    }),
  )

/** A whole runner. */
export const testRunner = (options: TestRunnerOptions = {}) =>
  RunnerRole.layer.pipe(Layer.provideMerge(testGround(options)))
