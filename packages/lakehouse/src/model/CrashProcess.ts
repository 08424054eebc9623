import { Effect, Layer, Redacted } from "effect"
import { Catalog } from "../catalog/Catalog.ts"
import { PostgresCatalog } from "../catalog/PostgresCatalog.ts"
import { Rebase } from "../catalog/Rebase.ts"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import { Pg } from "../postgres/Pg.ts"
import { PgConfig } from "../postgres/PgConfig.ts"
import { ScanPlanner } from "../scan/ScanPlanner.ts"
import { FileStore } from "../store/FileStore.ts"
import { ObjectStore } from "../store/ObjectStore.ts"
import { testEngine } from "../write/TestMerge.ts"
import { TestDuckDb } from "../write/TestTable.ts"
import { type CrashRun, crashRun } from "./CrashRun.ts"

/** What the process is to do: `url` and `root` are shared with the test. */
export interface CrashJob {
  readonly url: string
  readonly root: string
  readonly run: CrashRun
  /** How many steps the process lives for; null: it ends by itself, and answers with how many it took. */
  readonly steps: number | null
}

/** The process of a run that kills itself before a step: what it had in hand is gone, as when the power fails. */
const perform = async (job: CrashJob): Promise<number> => {
  let taken = 0
  let isDisturbed = true
  const step = Effect.suspend(() => {
    if (!isDisturbed) return Effect.void
    if (taken++ !== job.steps) return Effect.void
    process.kill(process.pid, "SIGKILL")
    return Effect.never
  })
  const Store = Layer.effect(
    ObjectStore,
    Effect.map(ObjectStore, (store) =>
      ObjectStore.of({
        ...store,
        put: (...args) => Effect.andThen(step, store.put(...args)),
        putFile: (...args) => Effect.andThen(step, store.putFile(...args)),
      }),
    ),
  ).pipe(Layer.provide(FileStore.layer({ root: job.root })))
  const Database = Pg.layer.pipe(
    Layer.provideMerge(
      Layer.effect(
        PgConfig,
        Effect.map(PgConfig, (settings) => ({
          ...settings,
          maxConnections: 2,
          minConnections: 0,
        })),
      ).pipe(Layer.provide(PgConfig.layerUrl(Redacted.make(job.url)))),
    ),
  )
  const undisturbed = (catalog: Catalog["Service"]): Catalog["Service"] => ({
    ...catalog,
    table: (...args) =>
      Effect.suspend(() => {
        isDisturbed = false
        return catalog.table(...args)
      }),
    commit: (...args) =>
      Effect.tap(catalog.commit(...args), () =>
        Effect.sync(() => {
          isDisturbed = true
        }),
      ),
  })
  const program = Effect.gen(function* () {
    const catalog = yield* Catalog
    const disturbed = Catalog.of({
      ...catalog,
      createBranch: (...args) => Effect.andThen(step, catalog.createBranch(...args)),
      commit: (...args) => Effect.andThen(step, catalog.commit(...args)),
      rebase: (...args) => Effect.andThen(step, catalog.rebase(...args)),
      merge: (...args) => Effect.andThen(step, catalog.merge(...args)),
    })
    yield* crashRun(job.run, undisturbed(catalog)).pipe(
      Effect.provide(Rebase.layer),
      Effect.provideService(Catalog, disturbed),
    )
    // Main has moved, and nobody is told.
    yield* step
  })
  const Live = Layer.mergeAll(
    testEngine({ memoryLimit: "300MB", threads: 1 }).pipe(
      Layer.provideMerge(ScanPlanner.layer),
      Layer.provideMerge(IcebergTable.layer),
      Layer.provideMerge(Store),
      Layer.provideMerge(TestDuckDb.layer),
    ),
    PostgresCatalog.layer.pipe(Layer.provideMerge(Database)),
  )
  await Effect.runPromise(program.pipe(Effect.provide(Live), Effect.scoped))
  return taken
}

const answer = (message: object) =>
  process.send!(message, undefined, undefined, () => {
    process.disconnect()
  })

process.once("message", (job: CrashJob) => {
  perform(job).then(
    (taken) => answer({ taken }),
    (error) => answer({ error: String(error?.stack ?? error) }),
  )
})
