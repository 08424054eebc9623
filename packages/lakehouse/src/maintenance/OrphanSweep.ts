import { Clock, Effect, Stream } from "effect"
import { type ObjectInfo, ObjectStore } from "../store/ObjectStore.ts"
import type { Reachable } from "./Reachability.ts"
import { type Place, placeOf } from "./StoreKey.ts"

/** Objects looked at, asked about and removed in one step. */
const page = 1000

/**
 * What is known of objects that nothing points to: since when. Durable, so that a sweep may stop at any point and the next
 * one goes on. One sweep at a time.
 */
export interface OrphanLedger<E> {
  /**
   * Records objects that are unreachable now. Answers with the keys of those that were known before, unchanged (same size and
   * time), since `dueBefore` or longer. Recorded ones that changed begin anew.
   */
  readonly note: (objects: ReadonlyArray<ObjectInfo>, dueBefore: Date) => Effect.Effect<ReadonlySet<string>, E>
  /** The same without recording anything. */
  readonly look: (objects: ReadonlyArray<ObjectInfo>, dueBefore: Date) => Effect.Effect<ReadonlySet<string>, E>
  /** The objects are gone. */
  readonly forget: (keys: ReadonlyArray<string>) => Effect.Effect<void, E>
  /** All objects were seen: what this sweep did not note is reachable again, or gone. */
  readonly finish: Effect.Effect<void, E>
}

export interface SweepOptions<E> {
  readonly reachable: Reachable
  readonly ledger: OrphanLedger<E>
  /**
   * Of objects that no table needs: those that somebody else does or may (landing files; files of attempts at work), by key.
   */
  readonly needed: (objects: ReadonlyArray<ObjectInfo>) => Effect.Effect<ReadonlySet<string>, E>
  /** How long an object is unreachable before it goes, and how old it is at least; longer than any writer or reader takes. */
  readonly graceMs: number
  readonly dryRun: boolean
}

interface Sum {
  objects: number
  bytes: number
}

export interface SweepReport {
  readonly objects: number
  readonly liveObjects: number
  readonly waiting: Readonly<Sum>
  /** In a dry run: what would be removed. */
  readonly removed: Readonly<Sum>
  /** The removed (or, in a dry run, all unreachable) by table or landing zone. */
  readonly places: ReadonlyMap<string, Readonly<Sum>>
}

const add = (sum: Sum, info: ObjectInfo) => {
  sum.objects++
  sum.bytes += info.sizeBytes
}

/**
 * Mark and sweep: `reachable` is the mark, made before. The whole store is listed once. An object goes when nothing points to it
 * now, nothing did when it was noted, at least `graceMs` ago, it has not changed since, and it is older than that itself.
 *
 * Why nothing that is needed goes: what becomes reachable was written by somebody who commits within the grace time, and is
 * reachable at the second look. What nothing points to any more cannot come back, for refs and versions within retention are
 * roots. A crash between any two steps loses time only: removing is repeated, and a ledger row without an object is dropped.
 */
export const sweepOrphans = Effect.fn("OrphanSweep.sweepOrphans")(function* <E>(options: SweepOptions<E>) {
  const store = yield* ObjectStore
  const { dryRun, graceMs, ledger, needed, reachable } = options
  const dueBefore = new Date((yield* Clock.currentTimeMillis) - graceMs)
  const waiting: Sum = { objects: 0, bytes: 0 }
  const removed: Sum = { objects: 0, bytes: 0 }
  const places = new Map<string, Sum>()
  let objects = 0
  let liveObjects = 0

  const sweepPage = Effect.fnUntraced(function* (infos: ReadonlyArray<ObjectInfo>) {
    const unreachable: Array<{ info: ObjectInfo; place: Exclude<Place, { kind: "other" }> }> = []
    for (const info of infos) {
      objects++
      const place = placeOf(info.key)
      if (place.kind === "other" || (place.kind === "table" && reachable.isLive(info.key))) liveObjects++
      else unreachable.push({ info, place })
    }
    if (unreachable.length === 0) return
    const inUse = yield* needed(unreachable.map(({ info }) => info))
    const orphans = unreachable.filter(({ info }) => !inUse.has(info.key))
    liveObjects += unreachable.length - orphans.length
    const old = orphans.filter(({ info }) => info.modified < dueBefore)
    const infosOfOld = old.map(({ info }) => info)
    const due =
      old.length === 0
        ? new Set<string>()
        : yield* dryRun ? ledger.look(infosOfOld, dueBefore) : ledger.note(infosOfOld, dueBefore)
    const going: Array<string> = []
    for (const { info, place } of orphans) {
      const isDue = due.has(info.key)
      add(isDue ? removed : waiting, info)
      if (isDue) going.push(info.key)
      if (!isDue && !dryRun) continue
      const sum = places.get(place.place) ?? { objects: 0, bytes: 0 }
      add(sum, info)
      places.set(place.place, sum)
    }
    if (dryRun || going.length === 0) return
    yield* store.remove(going)
    yield* ledger.forget(going)
  })

  yield* store.list("").pipe(Stream.grouped(page), Stream.runForEach(sweepPage))
  if (!dryRun) yield* ledger.finish
  return { objects, liveObjects, waiting, removed, places } satisfies SweepReport as SweepReport
})
