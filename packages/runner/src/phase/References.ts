import { didYouMean, namePattern, type TableKey, ZoneListing } from "@rat/domain"
import { Catalog, type ScanPlan, ScanPlanner } from "@rat/lakehouse"
import { Effect } from "effect"
import { RunControl } from "../claim/RunControl.ts"
import { parseReference } from "../template/Reference.ts"
import type { ActiveRun } from "./ActiveRun.ts"
import { untilReached } from "./ControlCall.ts"
import { RunFailed } from "./RunFailed.ts"

/** Names listed in a message. */
const shownNames = 10

const listNames = (names: ReadonlyArray<string>): string =>
  names.length > shownNames ? `${names.slice(0, shownNames).join(", ")}, … (${names.length} in all)` : names.join(", ")

/** A table that the run reads, as of its branch. */
export interface ReadTable {
  readonly key: TableKey
  readonly plan: ScanPlan
}

/** Why a `ref()` finds nothing, with what there is. */
const missing = Effect.fnUntraced(function* (run: ActiveRun, reference: string, key: TableKey) {
  const catalog = yield* Catalog
  const there = (yield* catalog.tables(run.branch, { namespace: key.namespace })).map(({ key: found }) =>
    found.namespace === run.key.namespace ? `${found.layer}.${found.name}` : String(found),
  )
  const exist = there.length === 0 ? "There are no tables yet." : `There are: ${listNames(there)}.`
  return new RunFailed({
    code: "ref.missing",
    reason: `ref('${reference}'): no such table on main.${didYouMean(reference, there)} ${exist} A table appears when the first run of its pipeline is published.`,
  })
})

/** Finds and plans the table of one `ref()`. */
export const resolveReference = Effect.fn("References.resolve")(function* (run: ActiveRun, reference: string) {
  const catalog = yield* Catalog
  const planner = yield* ScanPlanner
  const parsed = parseReference(reference, run.claimed.namespace)
  if ("problem" in parsed) return yield* new RunFailed({ code: "ref.invalid", reason: parsed.problem })
  const pointer = yield* catalog.table(run.branch, parsed.key)
  if (pointer === null) return yield* yield* missing(run, reference, parsed.key)
  return { key: parsed.key, plan: yield* planner.plan(pointer.metadataLocation) } as ReadTable
})

/** Lists the files of one landing zone, unless an earlier attempt has: exactly these are read. */
export const resolveZone = Effect.fn("References.zone")(function* (run: ActiveRun, zone: string) {
  const control = yield* RunControl
  const known = run.progress.inputs()?.zones.find((listed) => listed.zone === zone)
  if (known !== undefined) return new ZoneListing(known)
  if (!namePattern.test(zone)) {
    return yield* new RunFailed({
      code: "zone.invalid",
      reason: `landing_zone('${zone}'): not a valid name: lower-case letters, digits, '_' and '-', first a letter.`,
    })
  }
  const listing = yield* untilReached(Effect.suspend(() => control.ListZone({ lease: run.claimed.lease, zone })))
  const upload = `\`rat upload --zone ${zone} FILE\``
  if (listing === null) {
    return yield* new RunFailed({
      code: "zone.missing",
      reason: `landing_zone('${zone}'): namespace "${run.claimed.namespace}" has no such landing zone. ${upload} makes it.`,
    })
  }
  if (listing.files.length === 0) {
    return yield* new RunFailed({
      code: "zone.empty",
      reason: `landing_zone('${zone}') holds no files. Upload some with ${upload} and run again.`,
    })
  }
  return listing
})
