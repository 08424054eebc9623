import { Catalog } from "@rat/lakehouse"
import { Clock, DateTime, Duration, Effect, Layer, Option } from "effect"
import { RunRepository } from "./RunRepository.ts"
import { RunSettings } from "./RunSettings.ts"

/** Branches taken in one call. */
const branchPage = 100

/** Versions of tables that one step of retention looks at. */
const versionPage = 10_000

/** An answer that takes longer came from a database that had been away. */
const awayMs = 2_000

/** A lease that runs out is noticed this much later, which saves looking again a moment too early. */
const slackMs = 20

/**
 * Finishes what others left: runs of silent attempts go to the next attempt, expired branches and old rows go away.
 * Every control node does it; the statements skip rows that another one holds. It sleeps until something is due: a lease
 * handed out meanwhile lasts longer than the sleep.
 */
const make = Effect.gen(function* () {
  const runs = yield* RunRepository
  const catalog = yield* Catalog
  const settings = yield* RunSettings

  /** Keeps a loop alive: whatever failed is tried again in its next round. */
  const surely = <A, E, R>(what: string, fallback: A, effect: Effect.Effect<A, E, R>) =>
    Effect.catchCause(effect, (cause) => Effect.as(Effect.logWarning(`The reaper could not ${what}`, cause), fallback))

  let wasAway = false
  const leases = Effect.gen(function* () {
    const asked = yield* Clock.currentTimeMillis
    const due = yield* surely("look for lost leases", null, Effect.asSome(runs.nextExpiryMs))
    const longest = settings.leaseSeconds * 1000
    wasAway ||= due === null || (yield* Clock.currentTimeMillis) - asked > awayMs
    if (due === null) return yield* Effect.sleep("1 second")
    if (wasAway) {
      // Nobody could renew while the database was away: whoever is still there does so now.
      wasAway = false
      return yield* Effect.sleep(longest)
    }
    const ms = Option.getOrNull(due)
    if (ms !== 0) return yield* Effect.sleep(Math.min(ms ?? longest, longest) + slackMs)
    const expired = yield* surely("take back lost leases", 0, runs.expireLeases())
    if (expired > 0)
      yield* Effect.logInfo("Took back runs of lost attempts").pipe(Effect.annotateLogs({ runs: expired }))
    else yield* Effect.sleep("1 second")
  })

  const drained = (take: Effect.Effect<number>): Effect.Effect<void> =>
    Effect.flatMap(take, (taken) => (taken < branchPage ? Effect.void : drained(take)))

  const branches = Effect.gen(function* () {
    yield* drained(surely("collect branches of runs", 0, runs.collectBranches()))
    yield* drained(
      surely(
        "collect expired branches",
        0,
        Effect.map(catalog.collectExpired(branchPage), (names) => names.length),
      ),
    )
    // A step a minute: a pass over a million versions takes less than two hours, and no step is long.
    const before = DateTime.subtract(yield* DateTime.now, { hours: settings.catalogRetentionHours })
    const forgotten = yield* surely("forget old versions of tables", 0, catalog.prune(before, versionPage))
    if (forgotten > 0) {
      yield* Effect.logDebug("Forgot old versions of tables").pipe(Effect.annotateLogs({ versions: forgotten }))
    }
    yield* Effect.sleep("1 minute")
  })

  const retention = Effect.gen(function* () {
    yield* Effect.sleep(Duration.minutes(settings.retentionIntervalMinutes))
    const removed = yield* surely("remove old rows", undefined, runs.prune())
    if (removed !== undefined) yield* Effect.logDebug("Removed old rows").pipe(Effect.annotateLogs({ ...removed }))
  })

  /** Only a catalog outside of Postgres leaves a publish half-way. */
  const publishes = Effect.gen(function* () {
    const resumed = yield* surely("finish publishes", 0, runs.resumePublishes())
    if (resumed > 0)
      yield* Effect.logInfo("Finished publishes of silent nodes").pipe(Effect.annotateLogs({ runs: resumed }))
    yield* Effect.sleep("2 seconds")
  })
  if (!catalog.joinsTransactions) yield* Effect.forkScoped(Effect.forever(publishes))
  for (const loop of [leases, branches, retention]) yield* Effect.forkScoped(Effect.forever(loop))
})

export const RunReaper = { layer: Layer.effectDiscard(make) }
