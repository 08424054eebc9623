import { TableKey } from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { Cause, Duration, Effect, Layer, Schedule } from "effect"
import { NodeIdentity } from "../cluster/NodeIdentity.ts"
import { RunnerClient } from "../project/RunnerClient.ts"
import type { ClaimedMaintenance } from "./MaintenanceClaim.ts"
import { MaintenanceRepository } from "./MaintenanceRepository.ts"
import { MaintenanceSettings } from "./MaintenanceSettings.ts"
import { makeOrphanRun } from "./OrphanRun.ts"

/** How long a worker sleeps at most when nobody wakes it: what other nodes put into the queue is seen then. */
const longestWait = Duration.seconds(15)

const reasonOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.findErrorOption(cause)
  if (error._tag === "Some") {
    const found = error.value as { readonly _tag?: unknown; readonly message?: unknown }
    if (found._tag !== "SqlError" && typeof found.message === "string" && found.message !== "") return found.message
  }
  return "It broke off for a reason that is in the server's log. What was done before stays; nothing is broken."
}

/**
 * Does maintenance: finds tables whose time has come, and works through the queue, a few at a time. Every control node may do
 * it; rows that another one holds are skipped. A node that dies loses its lease, and its run is taken up again by another one or
 * itself: what was committed is not done twice, the rest begins anew.
 */
const make = Effect.gen(function* () {
  const catalog = yield* Catalog
  const repository = yield* MaintenanceRepository
  const settings = yield* MaintenanceSettings
  const runner = yield* RunnerClient
  const orphans = yield* makeOrphanRun
  const node = (yield* NodeIdentity).id

  /** Keeps a loop alive: whatever failed is tried again in its next round. */
  const surely = <A, E, R>(what: string, fallback: A, effect: Effect.Effect<A, E, R>) =>
    Effect.catchCause(effect, (cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.failCause(cause as Cause.Cause<never>)
        : Effect.as(Effect.logWarning(`Maintenance could not ${what}`, cause), fallback),
    )

  const work = Effect.fnUntraced(function* (held: ClaimedMaintenance) {
    if (held.table === null) return yield* repository.succeedOrphans(held, yield* orphans(false))
    const report = yield* runner.Maintain({
      id: held.id,
      table: new TableKey(held.table),
      operations: held.operations,
      defaults: settings.policy,
      overrides: yield* repository.policy(held.table),
      isManual: held.trigger === "manual",
      dryRun: false,
    })
    return yield* repository.succeedTable(held, report)
  })

  /** Ends when the lease is lost: somebody else holds the run then. */
  const renewing = (held: ClaimedMaintenance) =>
    surely("renew its lease", true, repository.renew(held)).pipe(
      Effect.delay(Duration.seconds(settings.leaseSeconds / 3)),
      Effect.repeat({ until: (isHeld) => !isHeld }),
    )

  const perform = (held: ClaimedMaintenance) =>
    Effect.raceFirst(work(held), Effect.as(renewing(held), false)).pipe(
      Effect.catchCause((cause) =>
        Cause.hasInterruptsOnly(cause)
          ? Effect.failCause(cause as Cause.Cause<never>)
          : Effect.logWarning("Maintenance failed", cause).pipe(Effect.andThen(repository.fail(held, reasonOf(cause)))),
      ),
      Effect.onInterrupt(() => Effect.ignore(repository.release(held))),
      Effect.annotateLogs({
        maintenance_id: held.id,
        ...(held.table === null ? {} : { table: new TableKey(held.table).toString() }),
      }),
    )

  const worker = Effect.gen(function* () {
    const held = yield* surely("claim a run", null, repository.claim(node))
    if (held === null) return yield* Effect.timeoutOption(repository.woken, longestWait)
    yield* surely("end a run", false, perform(held))
  })

  const look = Effect.gen(function* () {
    yield* surely("remove old history", 0, repository.prune())
    if (!settings.isOn) return
    yield* surely("look for tables that are due", 0, repository.enqueueDue())
    // A catalog outside of Postgres knows alone what its refs need.
    if (catalog.joinsTransactions) yield* surely("plan the removal of orphans", 0, repository.enqueueOrphans())
  })

  const recover = surely("take back lost runs", 0, repository.expireLeases())
  yield* Effect.forkScoped(Effect.repeat(recover, Schedule.spaced(Duration.seconds(settings.leaseSeconds))))
  // The first look waits too: a server that has just started has more urgent things to do.
  yield* Effect.forkScoped(Effect.forever(Effect.delay(look, Duration.seconds(settings.intervalSeconds))))
  for (let each = 0; each < settings.concurrency; each++) yield* Effect.forkScoped(Effect.forever(worker))
})

export const MaintenanceWorker = { layer: Layer.effectDiscard(make) }
