import { mkdtempSync } from "node:fs"
import { rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { FileStore, IcebergTable, PostgresCatalog, Rebase, TestPostgres } from "@rat/lakehouse"
import { Effect, Layer } from "effect"
import { Outbox } from "../event/Outbox.ts"
import { migrations } from "../sql/migrations.ts"
import { RunHub } from "./RunHub.ts"
import { RunSettings } from "./RunSettings.ts"

/** A store of its own in a folder that goes with the test. */
const testStore = Layer.unwrap(
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "rat-runs-"))),
      (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true })),
    ),
    (root) => FileStore.layer({ root }),
  ),
)

/** What everything about runs stands on, with a fresh database and an empty store. Test support only. */
export const testRuns = (settings: Parameters<typeof RunSettings.layerWith>[0]) =>
  Layer.mergeAll(RunHub.layer, Outbox.layer, RunSettings.layerWith(settings), Rebase.layer).pipe(
    Layer.provideMerge(Layer.merge(PostgresCatalog.layer, IcebergTable.layer)),
    Layer.provideMerge(testStore),
    Layer.provideMerge(TestPostgres.layer(migrations)),
  )
