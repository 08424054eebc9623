import type { Catalog, Rebase } from "@rat/lakehouse"
import { Context, Effect, Layer } from "effect"
import type { SqlClient } from "effect/sql"
import type { Outbox } from "../event/Outbox.ts"
import { makeBranches } from "./RunBranch.ts"
import { makeCancel } from "./RunCancel.ts"
import { makeClaim } from "./RunClaim.ts"
import { makeEnd } from "./RunEnd.ts"
import { makeExpiry } from "./RunExpiry.ts"
import type { RunHub } from "./RunHub.ts"
import { makeRead } from "./RunRead.ts"
import { makeRelease } from "./RunRelease.ts"
import { makeReport } from "./RunReport.ts"
import { makeRetention } from "./RunRetention.ts"
import type { RunSettings } from "./RunSettings.ts"
import { makeSubmit } from "./RunSubmit.ts"

const make = Effect.gen(function* () {
  const branches = yield* makeBranches
  return {
    submit: yield* makeSubmit,
    cancel: yield* makeCancel,
    expireBranchOf: branches.expireOf,
    collectBranches: branches.collect,
    ...(yield* makeClaim),
    ...(yield* makeRelease),
    ...(yield* makeReport),
    ...(yield* makeEnd),
    ...(yield* makeExpiry),
    ...(yield* makeRead),
    ...(yield* makeRetention),
  }
})

/**
 * The only writer of tables `run`, `run_attempt`, `run_checkpoint`, `run_log` and `quality_result`. Invariants: a terminal status is never
 * left; the row's fencing token is that of the newest attempt; a status and its outbox row commit together; of one
 * pipeline at most one run is running; after each commit the live side (`RunHub`) is told.
 *
 * One file per step of a run's life: `RunSubmit`, `RunClaim`, `RunRelease`, `RunReport` (with `RunCheckpoint`), `RunEnd` (with
 * `RunPublish`, `RunFail` and the statement in `RunEnding`), `RunCancel`, `RunExpiry`, `RunBranch`, `RunRead`, `RunRetention`. On `LeaseLost` discard the work; only a `SqlError` with `isRetryable` may be tried again.
 */
export class RunRepository extends Context.Service<RunRepository, Effect.Success<typeof make>>()(
  "rat/server/run/RunRepository",
) {
  static readonly layer: Layer.Layer<
    RunRepository,
    never,
    SqlClient.SqlClient | RunSettings | RunHub | Outbox | Catalog | Rebase
  > = Layer.effect(RunRepository, make)
}
