import { mkdtempSync } from "node:fs"
import { rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { mainRef, type NamespaceName, type PipelineId, RefName, runBranch, type TableKey } from "@rat/domain"
import { Catalog, FileStore, IcebergTable, PostgresCatalog, Rebase, TestPostgres } from "@rat/lakehouse"
import { Effect, Layer } from "effect"
import { Outbox } from "../event/Outbox.ts"
import { migrations } from "../sql/migrations.ts"
import { RunHub } from "./RunHub.ts"
import { RunRepository } from "./RunRepository.ts"
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

/** A version of a table as the catalog sees it. */
export const pointer = (metadataLocation: string) => ({
  metadataLocation,
  snapshotId: "1",
  rowCount: 3,
  sizeBytes: 100,
})

/** A claimed run that has committed `location` as its table on its own branch. */
export const onBranch = Effect.fnUntraced(function* (
  namespace: NamespaceName,
  pipelineId: PipelineId,
  table: TableKey,
  expected: string | null,
  location: string,
) {
  const runs = yield* RunRepository
  const catalog = yield* Catalog
  yield* runs.submit({
    kind: "pipeline",
    namespace,
    pipelineId,
    trigger: "manual",
    idempotencyKey: null,
    traceparent: null,
  })
  const [claimed] = yield* runs.claim("node", 1)
  const runId = claimed!.lease.runId
  const branch = RefName.make(runBranch(runId))
  yield* catalog.createBranch(branch, { from: mainRef, runId })
  yield* catalog.commit(branch, {
    message: "m",
    author: "t",
    runId,
    changes: [{ key: table, expected, next: pointer(location) }],
  })
  return { claimed: claimed!, branch }
})
