import type { RefName, TableKey } from "@rat/domain"
import {
  applyUpdates,
  Catalog,
  IcebergTable,
  liveRows,
  type MetadataUpdate,
  ObjectStore,
  type TableMetadata,
  totalsOfSummary,
  type UpdateRefused,
} from "@rat/lakehouse"
import { Clock, Effect, Schema } from "effect"
import { appendOf, isOnlyStale, makeAppendRebase } from "./AppendRebase.ts"
import { KeyedLock } from "./KeyedLock.ts"
import type { Namespaces } from "./Namespaces.ts"
import type { RefScope } from "./RefScope.ts"
import { type Unmet, unmetRequirements } from "./Requirement.ts"
import { bodyAs, noContent, type RestAnswer, type RestCall } from "./RestCall.ts"
import { refuse } from "./RestFailure.ts"
import { knownTable, missing, namespaceParts, newTable } from "./RestName.ts"
import { makeSnapshotCheck } from "./SnapshotCheck.ts"
import type { PreparedChange, TableCommitter } from "./TableCommitter.ts"
import { checkNewLocation, updatesProblem } from "./TableRules.ts"
import { decodeRequirements, decodeUpdates, type TableRequirement } from "./TableUpdateJson.ts"
import type { ViewRepository } from "./ViewRepository.ts"

const Identifier = Schema.Struct({ namespace: Schema.Array(Schema.String), name: Schema.String })

const Commit = Schema.Struct({
  identifier: Schema.optionalKey(Schema.NullOr(Identifier)),
  requirements: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.Unknown))),
  updates: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.Unknown))),
})
const commitBody = bodyAs(Commit, "commit")
const transactionBody = bodyAs(
  Schema.Struct({ "table-changes": Schema.Array(Commit).check(Schema.isNonEmpty(), Schema.isMaxLength(1000)) }),
  "transaction",
)

/** A commit as it came in. */
interface WantedCommit {
  readonly key: TableKey
  readonly requirements: ReadonlyArray<TableRequirement>
  readonly updates: ReadonlyArray<MetadataUpdate>
}

/** How often a commit starts again because other nodes were faster. Appends win sooner or later; the others see what changed. */
const maxTries = 60

const told = (key: TableKey, unmet: ReadonlyArray<Unmet>) =>
  refuse(
    "CommitFailedException",
    `Table "${key}" changed since the commit was prepared: ${unmet.map(({ reason }) => reason).join("; ")}. Nothing was changed. Load it again and repeat.`,
  )

const totalsOfTable = (metadata: TableMetadata) => {
  const current = metadata.snapshots.find(({ snapshotId }) => snapshotId === metadata.currentSnapshotId)
  const totals = current === undefined ? null : totalsOfSummary(current.summary)
  return {
    snapshotId: metadata.currentSnapshotId?.toString() ?? null,
    rowCount: totals === null ? 0 : liveRows(totals),
    sizeBytes: totals?.sizeBytes ?? 0,
  }
}

/** The pointer to a version of a table, its numbers taken from the snapshot's summary. */
export const pointerTo = (metadataLocation: string, metadata: TableMetadata) => ({
  metadataLocation,
  ...totalsOfTable(metadata),
})

const messageOf = (key: TableKey, isNew: boolean, updates: ReadonlyArray<MetadataUpdate>) => {
  const operations = updates.flatMap((update) =>
    update.action === "add-snapshot" ? [update.snapshot.summary.operation ?? "snapshot"] : [],
  )
  const what = isNew ? "create" : operations.length > 0 ? operations.join(", ") : "change"
  return `${what} ${key}`
}

const rowsAdded = (updates: ReadonlyArray<MetadataUpdate>): number | null => {
  const counts = updates.flatMap((update) =>
    update.action === "add-snapshot" ? [Number(update.snapshot.summary["added-records"] ?? 0)] : [],
  )
  return counts.length === 0 ? null : counts.reduce((sum, count) => sum + (Number.isFinite(count) ? count : 0), 0)
}

/** Commits of tables, one or several at once. A commit changes everything that it says or nothing. */
export const makeCommitTable = Effect.fnUntraced(function* (rooms: {
  readonly refs: RefScope
  readonly namespaces: Namespaces
  readonly committer: TableCommitter
  readonly views: ViewRepository
}) {
  const { committer, namespaces, refs, views } = rooms
  const catalog = yield* Catalog
  const tables = yield* IcebergTable
  const store = yield* ObjectStore
  const rebase = yield* makeAppendRebase
  const checkSnapshots = yield* makeSnapshotCheck
  const locks = new KeyedLock()

  /** What a commit makes of the table as it is now. */
  const prepare = Effect.fnUntraced(function* (ref: RefName, wanted: WantedCommit) {
    const { key, requirements } = wanted
    const pointer = yield* catalog.table(ref, key)
    const base =
      pointer === null
        ? null
        : { metadataLocation: pointer.metadataLocation, metadata: yield* tables.load(pointer.metadataLocation) }
    const isCreate = requirements.some(({ type }) => type === "assert-create")
    if (base === null && !isCreate) return yield* missing("table", key.toString())
    const unmet = unmetRequirements(base?.metadata ?? null, requirements)
    const append = appendOf(wanted.updates)
    // A repeated append whose answer was lost: it is there already.
    if (base !== null && append !== null && unmet.length > 0) {
      const isDone = base.metadata.snapshots.some(({ snapshotId }) => snapshotId === append.snapshot.snapshotId)
      if (isDone && isOnlyStale(unmet)) return { key, base, change: null }
    }
    const isStale =
      base !== null &&
      append !== null &&
      (unmet.length > 0 || append.snapshot.sequenceNumber <= base.metadata.lastSequenceNumber)
    if (unmet.length > 0 && !(isStale && isOnlyStale(unmet))) return yield* told(key, unmet)
    const location = base?.metadata.location ?? (yield* locationOf(key, wanted.updates))
    const problem = updatesProblem(store, location, wanted.updates)
    if (problem !== null) return yield* problem
    const completed = withSchemas(wanted.updates, base?.metadata ?? null)
    const updates =
      isStale && append !== null
        ? yield* rebase(base!.metadata, append, yield* Clock.currentTimeMillis)
        : completed
    const runId = committer.newId()
    const refused = (error: UpdateRefused) => refuse("BadRequestException", error.message)
    // Nothing is written for a commit that will be refused.
    const context = { nowMs: yield* Clock.currentTimeMillis, location, uuid: runId, previousLocation: null }
    const wouldBe = yield* Effect.mapError(
      Effect.fromResult(applyUpdates(base?.metadata ?? null, updates, context)),
      refused,
    )
    yield* checkSnapshots(wouldBe, base?.metadata ?? null, updates)
    const made = yield* tables
      .commit({ base, location, runId, updates, snapshot: null })
      .pipe(Effect.catchTag("UpdateRefused", (error) => Effect.fail(refused(error))))
    const change: PreparedChange = {
      key,
      expected: base?.metadataLocation ?? null,
      next: pointerTo(made.metadataLocation, made.metadata),
      message: messageOf(key, base === null, updates),
      rowsAdded: rowsAdded(updates),
    }
    return { key, base, change }
  })

  /** Where a table that is made by a commit lies: where its staged create said. */
  const locationOf = (key: TableKey, updates: ReadonlyArray<MetadataUpdate>) => {
    const set = updates.find((update) => update.action === "set-location")
    return set === undefined
      ? refuse("BadRequestException", `The commit that creates "${key}" sets no location. Stage the table first.`)
      : Effect.fromResult(checkNewLocation(store, key, set.location))
  }

  const commitAll = Effect.fnUntraced(function* (
    call: RestCall,
    commits: ReadonlyArray<WantedCommit>,
    answer: (locations: ReadonlyArray<string>) => RestAnswer,
  ) {
    yield* refs.writable(call.ref)
    // One commit of a table at a time on this node, in the order of arrival: with other nodes the catalog decides.
    const attempt = Effect.gen(function* () {
      const prepared = yield* Effect.forEach(commits, (each) => prepare(call.ref, each), { concurrency: 4 })
      const changes = prepared.flatMap(({ change }) => change ?? [])
      const locations = prepared.map(({ base, change }) => change?.next?.metadataLocation ?? base!.metadataLocation)
      const made = answer(locations)
      if (changes.length === 0) return made
      const created = prepared.filter(({ base }) => base === null).map(({ key }) => key)
      const holdNamespaces = Effect.forEach(created, (key) => Effect.andThen(namespaces.hold(key.namespace), views.refuseTaken(key)), {
        discard: true,
      })
      yield* committer.commit(call, changes, made, holdNamespaces)
      return made
    }).pipe(
      Effect.retry({ times: maxTries, while: (error) => error._tag === "CatalogConflict" }),
      Effect.catchTag("CatalogConflict", (conflict) => refuse("CommitFailedException", `${conflict.message} Nothing was changed. Try again.`)),
    )
    return yield* locks.holding(
      commits.map(({ key }) => `${call.ref} ${key}`),
      attempt,
    )
  })

  const decode = Effect.fnUntraced(function* (key: TableKey, commit: typeof Commit.Type) {
    return {
      key,
      requirements: yield* decodeRequirements(commit.requirements ?? []),
      updates: yield* decodeUpdates(commit.updates ?? []),
    } satisfies WantedCommit
  })

  /** A commit that makes a table has to name it by the rules; one of a table that cannot exist finds none. */
  const keyOf = (parts: ReadonlyArray<string>, name: string, commit: typeof Commit.Type) =>
    Effect.fromResult(
      (commit.requirements ?? []).some((each) => (each as { readonly type?: unknown } | null)?.type === "assert-create")
        ? newTable(parts, name)
        : knownTable(parts, name),
    )

  return {
    one: Effect.fnUntraced(function* (call: RestCall, access: ReadonlyArray<string>) {
      const body = yield* commitBody(call.body)
      const key = yield* keyOf(namespaceParts(call.names.namespace!), call.names.table!, body)
      if (body.identifier !== undefined && body.identifier !== null) {
        const { name, namespace } = body.identifier
        if ([...namespace, name].join(".") !== key.toString()) {
          return yield* refuse(
            "BadRequestException",
            `The address names table "${key}", the body names "${[...namespace, name].join(".")}".`,
          )
        }
      }
      return yield* commitAll(call, [yield* decode(key, body)], ([metadataLocation]) => ({
        kind: "table",
        table: { ref: call.ref, key, metadataLocation: metadataLocation!, snapshots: "all", access },
      }))
    }),
    transaction: Effect.fnUntraced(function* (call: RestCall) {
      const body = yield* transactionBody(call.body)
      const commits = yield* Effect.forEach(
        body["table-changes"],
        Effect.fnUntraced(function* (commit) {
          const { identifier } = commit
          if (identifier === undefined || identifier === null) {
            return yield* refuse("BadRequestException", "A change of the transaction names no table: `identifier` is missing.")
          }
          return yield* decode(yield* keyOf(identifier.namespace, identifier.name, commit), commit)
        }),
      )
      const names = commits.map(({ key }) => key.toString())
      const twice = names.find((name, index) => names.indexOf(name) !== index)
      if (twice !== undefined) {
        return yield* refuse("BadRequestException", `Table "${twice}" occurs twice in the transaction. Put its changes together.`)
      }
      return yield* commitAll(call, commits, () => noContent)
    }),
  }
})

export type CommitTable = Effect.Success<ReturnType<typeof makeCommitTable>>

/** A snapshot without a schema is of the one that is current when it is added. */
const withSchemas = (updates: ReadonlyArray<MetadataUpdate>, base: TableMetadata | null): ReadonlyArray<MetadataUpdate> => {
  const schemaId = base?.currentSchemaId ?? 0
  return updates.map((update) =>
    update.action === "add-snapshot" && update.snapshot.schemaId === -1
      ? { ...update, snapshot: { ...update.snapshot, schemaId } }
      : update,
  )
}
