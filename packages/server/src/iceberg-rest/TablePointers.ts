import type { TableKey } from "@rat/domain"
import {
  Catalog,
  type CatalogConflict,
  IcebergTable,
  liveRows,
  noTotals,
  type TableMetadata,
  totalsOf,
  totalsOfSummary,
} from "@rat/lakehouse"
import { Effect } from "effect"
import type { Namespaces } from "./Namespaces.ts"
import type { RefScope } from "./RefScope.ts"
import type { RestAnswer, RestCall } from "./RestCall.ts"
import { type RestProblem, refuse } from "./RestFailure.ts"
import { knownTable, missing, namespaceParts } from "./RestName.ts"
import type { PreparedChange, TableCommitter } from "./TableCommitter.ts"
import type { ViewRepository } from "./ViewRepository.ts"

const maxTries = 20

const keepsChanging = (conflict: CatalogConflict) =>
  refuse("CommitFailedException", `${conflict.message} Nothing was changed. Try again.`)

/** How requests find a table and move its pointer, whatever they do to it. */
export const makeTablePointers = Effect.fnUntraced(function* (rooms: {
  readonly refs: RefScope
  readonly namespaces: Namespaces
  readonly committer: TableCommitter
  readonly views: ViewRepository
}) {
  const { committer, namespaces, refs, views } = rooms
  const catalog = yield* Catalog
  const tables = yield* IcebergTable

  /** The table that the address names. */
  const required = Effect.fnUntraced(function* (call: RestCall) {
    const parts = namespaceParts(call.names.namespace!)
    const key = yield* Effect.fromResult(knownTable(parts, call.names.table!))
    return yield* found(call, key)
  })

  const found = Effect.fnUntraced(function* (call: RestCall, key: TableKey) {
    const pointer = yield* catalog.table(call.ref, key)
    if (pointer !== null) return pointer
    yield* namespaces.required([key.namespace, key.layer])
    return yield* missing("table", key.toString())
  })

  const showing = (
    call: RestCall,
    key: TableKey,
    metadataLocation: string,
    access: ReadonlyArray<string>,
  ): RestAnswer => ({
    kind: "table",
    table: { ref: call.ref, key, metadataLocation, snapshots: "all", access },
  })

  /** One change of pointers, made from the state that is current; again when somebody else was faster. */
  const change = (
    call: RestCall,
    plan: Effect.Effect<
      {
        readonly changes: ReadonlyArray<PreparedChange>
        readonly answer: RestAnswer
        readonly created?: TableKey
      },
      RestProblem
    >,
  ) =>
    Effect.andThen(
      refs.writable(call.ref),
      Effect.flatMap(plan, ({ answer, changes, created }) => {
        const first =
          created === undefined
            ? Effect.void
            : Effect.andThen(namespaces.hold(created.namespace), views.refuseTaken(created))
        return Effect.as(
          committer.commit(call, changes, [{ idempotencyKey: call.idempotencyKey, answer }], first),
          answer,
        )
      }).pipe(
        Effect.retry({ times: maxTries, while: (error) => error._tag === "CatalogConflict" }),
        Effect.catchTag("CatalogConflict", (conflict) => Effect.fail(keepsChanging(conflict))),
      ),
    )

  const refuseExisting = Effect.fnUntraced(function* (call: RestCall, key: TableKey) {
    if ((yield* catalog.table(call.ref, key)) !== null) {
      return yield* refuse("AlreadyExistsException", `Table "${key}" already exists on ${call.ref}.`)
    }
  })

  /** What the catalog keeps of a version. Writers may leave the totals out of a snapshot's summary: then its files are counted. */
  const to = Effect.fnUntraced(function* (version: {
    readonly metadataLocation: string
    readonly metadata: TableMetadata
  }) {
    const { metadata, metadataLocation } = version
    const current = metadata.snapshots.find(({ snapshotId }) => snapshotId === metadata.currentSnapshotId)
    const known = current === undefined ? noTotals : totalsOfSummary(current.summary)
    const totals = known ?? (yield* counted(metadata))
    return {
      metadataLocation,
      snapshotId: metadata.currentSnapshotId?.toString() ?? null,
      rowCount: liveRows(totals),
      sizeBytes: totals.sizeBytes,
    }
  })

  const counted = (metadata: TableMetadata) =>
    Effect.map(tables.files(metadata), ({ data, deletes }) => totalsOf([...data, ...deletes]))

  return { change, to, find: catalog.table, found, refuseExisting, required, showing }
})

export type TablePointers = Effect.Success<ReturnType<typeof makeTablePointers>>
