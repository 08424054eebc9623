import type { TableKey } from "@rat/domain"
import {
  applyUpdates,
  type MetadataUpdate,
  ObjectStore,
  Rebase,
  type Snapshot,
  type TableMetadata,
} from "@rat/lakehouse"
import { Clock, Effect } from "effect"
import { appendOf, isOnlyStale } from "./AppendCommit.ts"
import { type Unmet, unmetRequirements } from "./Requirement.ts"
import { refuse } from "./RestFailure.ts"
import { missing } from "./RestName.ts"
import { makeSnapshotCheck } from "./SnapshotCheck.ts"
import { checkNewLocation, updatesProblem } from "./TableRules.ts"
import type { TableRequirement } from "./TableUpdateJson.ts"

/** A commit as it came in. */
export interface WantedCommit {
  readonly key: TableKey
  readonly requirements: ReadonlyArray<TableRequirement>
  readonly updates: ReadonlyArray<MetadataUpdate>
}

/** What a commit comes to, on one state of its table. */
export interface PlannedCommit {
  readonly location: string
  /** Empty for a repeated append that is there already. */
  readonly updates: ReadonlyArray<MetadataUpdate>
  /** The table afterwards, before anything of it is written. */
  readonly metadata: TableMetadata
}

const told = (key: TableKey, unmet: ReadonlyArray<Unmet>) =>
  refuse(
    "CommitFailedException",
    `Table "${key}" changed since the commit was prepared: ${unmet.map(({ reason }) => reason).join("; ")}. Nothing was changed. Load it again and repeat.`,
  )

/** A snapshot without a schema is of the one that is current when it is added. */
const withSchemas = (
  updates: ReadonlyArray<MetadataUpdate>,
  base: TableMetadata | null,
): ReadonlyArray<MetadataUpdate> => {
  const schemaId = base?.currentSchemaId ?? 0
  return updates.map((update) =>
    update.action === "add-snapshot" && update.snapshot.schemaId === -1
      ? { ...update, snapshot: { ...update.snapshot, schemaId } }
      : update,
  )
}

/**
 * What commits come to: requirements, rules, and appends of an older view put upon the table as it is. Besides a manifest list for
 * such an append nothing is written.
 */
export const makeCommitPlan = Effect.gen(function* () {
  const store = yield* ObjectStore
  const rebase = yield* Rebase
  const check = yield* makeSnapshotCheck

  /** Where a table that is made by a commit lies: where its staged create said. */
  const locationOf = ({ key, updates }: WantedCommit) => {
    const set = updates.find((update) => update.action === "set-location")
    return set === undefined
      ? refuse("BadRequestException", `The commit that creates "${key}" sets no location. Stage the table first.`)
      : Effect.fromResult(checkNewLocation(store, key, set.location))
  }

  const applied = Effect.fnUntraced(function* (
    base: TableMetadata | null,
    updates: ReadonlyArray<MetadataUpdate>,
    location: string,
    uuid: string,
  ) {
    const context = { nowMs: yield* Clock.currentTimeMillis, location, uuid, previousLocation: null }
    return yield* Effect.mapError(Effect.fromResult(applyUpdates(base, updates, context)), (refused) =>
      refuse("BadRequestException", refused.message),
    )
  })

  const planned = Effect.fnUntraced(function* (base: TableMetadata | null, wanted: WantedCommit, uuid: string) {
    const { key, requirements } = wanted
    if (base === null && !requirements.some(({ type }) => type === "assert-create")) {
      return yield* missing("table", key.toString())
    }
    const unmet = unmetRequirements(base, requirements)
    const append = base === null ? null : appendOf(withSchemas(wanted.updates, base))
    const isStale = append !== null && (unmet.length > 0 || append.snapshot.sequenceNumber <= base!.lastSequenceNumber)
    if (unmet.length > 0 && !(isStale && isOnlyStale(unmet))) return yield* told(key, unmet)
    const location = base?.location ?? (yield* locationOf(wanted))
    const problem = updatesProblem(store, location, wanted.updates)
    if (problem !== null) return yield* problem
    if (isStale) return yield* plannedAppend(base!, append!.snapshot, append!.others, uuid)
    const updates = withSchemas(wanted.updates, base)
    // Nothing is written for a commit that will be refused.
    const metadata = yield* applied(base, updates, location, uuid)
    yield* check.all(metadata, base, updates)
    return { location, updates, metadata } satisfies PlannedCommit as PlannedCommit
  })

  const plannedAppend = Effect.fnUntraced(function* (
    base: TableMetadata,
    snapshot: Snapshot,
    others: ReadonlyArray<MetadataUpdate>,
    uuid: string,
  ) {
    const { location } = base
    // A repeated append whose answer was lost.
    if (base.snapshots.some(({ snapshotId }) => snapshotId === snapshot.snapshotId)) {
      return { location, updates: [], metadata: base } satisfies PlannedCommit as PlannedCommit
    }
    yield* check.append(base, snapshot)
    const updates = [...others, ...(yield* rebase.append(base, snapshot))]
    return {
      location,
      updates,
      metadata: yield* applied(base, updates, location, uuid),
    } satisfies PlannedCommit as PlannedCommit
  })

  return planned
})
