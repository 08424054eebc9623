import { type CopyRow, type DataFile, ObjectStore, type Slot, writtenFiles } from "@rat/lakehouse"
import { Effect } from "effect"
import type { ActiveRun } from "./ActiveRun.ts"
import type { Executed } from "./Execute.ts"
import { withSlotFiles } from "./Inputs.ts"
import type { Resolved } from "./Resolve.ts"

/** Files stored at the same time. */
const concurrency = 4

export interface Written {
  readonly dataFiles: ReadonlyArray<DataFile>
  /** Rows of the result. */
  readonly rows: number
}

/**
 * Moves the result's files to the store. Names hold run and attempt: an attempt never touches what another one wrote. The
 * slot keeps a link to each file, so that the tests read it without fetching it back.
 */
export const write = Effect.fn("Write.write")(function* (
  run: ActiveRun,
  executed: Executed,
  resolved: Resolved,
  slot: Slot,
) {
  const store = yield* ObjectStore
  const { runId, attempt } = run.claimed.lease
  const { namespace, layer, name } = run.key
  const files = writtenFiles(executed.stats as ReadonlyArray<CopyRow>, executed.plan.schema, (index) =>
    store.locationOf(`${namespace}/${layer}/${name}/data/${runId}-${attempt}.${run.round}-${index}.parquet`),
  )
  yield* Effect.forEach(
    files,
    ({ file, localPath }) =>
      Effect.andThen(
        resolved.inputs.addWritten(file.filePath, localPath),
        store.putFile(store.keyOf(file.filePath), localPath),
      ),
    { concurrency, discard: true },
  ).pipe(withSlotFiles(slot))
  const dataFiles = files.map(({ file }) => file)
  return {
    dataFiles,
    rows: dataFiles.reduce((rows, file) => rows + file.recordCount, 0),
  } satisfies Written as Written
})
