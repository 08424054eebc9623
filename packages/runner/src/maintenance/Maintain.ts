import {
  MaintenanceFailed,
  type MaintenanceId,
  type MaintenancePolicy,
  type MaintenancePolicyPart,
  type TableKey,
  type TableOperation,
} from "@rat/domain"
import { maintainTable, withoutServerPaths } from "@rat/lakehouse"
import { Cause, Effect } from "effect"
import { RunnerConfig } from "../RunnerConfig.ts"
import { MaintenanceSlots } from "./MaintenanceSlots.ts"
import { makeSlotEngine } from "./SlotEngine.ts"

/** Of what a slot may spill, inputs and outputs of one statement each take at most this share. */
const groupShare = 4

/** Stable codes of errors by their tags; others carry a code of their own. */
const codes: { readonly [Tag in string]: string } = {
  ObjectNotFound: "table.corrupt",
  TableCorrupt: "table.corrupt",
  UpdateRefused: "table.corrupt",
  StoreUnavailable: "store.unavailable",
  SqlError: "catalog.unavailable",
  SlotDied: "slot.died",
  SlotsBusy: "slot.busy",
}

const failureOf = (error: { readonly _tag: string; readonly message: string; readonly code?: unknown }) =>
  new MaintenanceFailed({
    code: codes[error._tag] ?? String(error.code ?? "internal"),
    reason:
      error._tag === "SqlError"
        ? "The database that holds the catalog did not answer. What was done before stays; the next run takes the rest."
        : withoutServerPaths(error.message),
  })

/** Answers `RunnerRpc.Maintain`: a table of main, in a slot of `MaintenanceSlots`. */
export const maintain = Effect.fn("Maintain.maintain")(function* (request: {
  readonly id: MaintenanceId
  readonly table: TableKey
  readonly operations: ReadonlyArray<TableOperation>
  readonly defaults: MaintenancePolicy
  readonly overrides: MaintenancePolicyPart | null
  readonly isManual: boolean
  readonly dryRun: boolean
}) {
  const config = yield* RunnerConfig
  const slots = yield* MaintenanceSlots
  const { table, ...wish } = request
  const report = yield* maintainTable({
    ...wish,
    key: table,
    maxGroupBytes: Math.floor(config.spillLimitBytes / groupShare),
    engine: Effect.flatMap(slots.acquire, makeSlotEngine),
  }).pipe(
    Effect.mapError(failureOf),
    Effect.catchDefect((defect) =>
      Effect.logError("Maintenance failed unexpectedly", Cause.die(defect)).pipe(
        Effect.andThen(
          new MaintenanceFailed({
            code: "internal",
            reason: "Something unexpected went wrong. The log of the server has the details; the table is intact.",
          }),
        ),
      ),
    ),
    Effect.annotateLogs({ maintenance_id: request.id, table: table.toString() }),
  )
  return (
    report ??
    (yield* new MaintenanceFailed({ code: "table.missing", reason: `Table ${table} does not exist on main.` }))
  )
})
