import { mainRef, OrphanPlace, OrphanReport, OrphansUnsupported } from "@rat/domain"
import { Catalog, ObjectStore, reachableFrom, sweepOrphans } from "@rat/lakehouse"
import { Effect } from "effect"
import { MaintenanceSettings } from "./MaintenanceSettings.ts"
import { OrphanRepository } from "./OrphanRepository.ts"

/** Places that a report names; the rest is in the sums. */
const maxPlaces = 1000

const hourMs = 3_600_000

/** Looks for objects that nothing points to, and unless it is a dry run removes those whose time has come. */
export const makeOrphanRun = Effect.gen(function* () {
  const catalog = yield* Catalog
  const orphans = yield* OrphanRepository
  const settings = yield* MaintenanceSettings
  const store = yield* ObjectStore

  return Effect.fn("OrphanRun.run")(
    function* (dryRun: boolean) {
      if (!catalog.joinsTransactions) {
        return yield* new OrphansUnsupported({
          reason: "the catalog is a server of its own, and only its own collector knows all of its refs",
        })
      }
      // Asked before the roots: whatever is current now must be among them.
      const current = yield* catalog.tables(mainRef)
      const reachable = yield* reachableFrom({ tables: orphans.roots, objects: orphans.views })
      const missing = current.find(({ metadataLocation }) => !reachable.has(metadataLocation))
      if (missing !== undefined) {
        return yield* new OrphansUnsupported({
          reason: `the roots of the catalog are not complete, for table ${missing.key} is not among them. Nothing was removed; please report this`,
        })
      }
      const swept = yield* sweepOrphans({
        reachable,
        ledger: yield* orphans.ledger,
        needed: orphans.needed,
        graceMs: settings.orphanGraceHours * hourMs,
        dryRun,
      })
      const places = [...swept.places]
        .map(([place, { bytes, objects }]) => new OrphanPlace({ place, objects, size_bytes: bytes }))
        .sort((left, right) => right.size_bytes - left.size_bytes)
      for (const { location, reason } of reachable.unreadable) {
        yield* Effect.logWarning("A table's metadata cannot be read; nothing in its folder is removed").pipe(
          Effect.annotateLogs({ location, reason }),
        )
      }
      return new OrphanReport({
        objects: swept.objects,
        live_objects: swept.liveObjects,
        waiting_objects: swept.waiting.objects,
        waiting_bytes: swept.waiting.bytes,
        removed_objects: swept.removed.objects,
        removed_bytes: swept.removed.bytes,
        places: places.slice(0, maxPlaces),
        unreadable: reachable.unreadable.map(({ location }) => location),
      })
    },
    Effect.provideService(ObjectStore, store),
  )
})
