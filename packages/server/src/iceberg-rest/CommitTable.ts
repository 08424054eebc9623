import type { RefName, TableKey } from "@rat/domain"
import { Catalog, type CatalogConflict, IcebergTable, type MetadataUpdate, type TableMetadata } from "@rat/lakehouse"
import { Effect, Exit, Schema } from "effect"
import { makeCommitPlan, type WantedCommit } from "./CommitPlan.ts"
import { KeyedBatches } from "./KeyedBatches.ts"
import type { Namespaces } from "./Namespaces.ts"
import type { RefScope } from "./RefScope.ts"
import { bodyAs, noContent, type RestAnswer, type RestCall } from "./RestCall.ts"
import { type RestProblem, refuse } from "./RestFailure.ts"
import { knownTable, namespaceParts, newTable } from "./RestName.ts"
import type { PreparedChange, TableCommitter } from "./TableCommitter.ts"
import type { TablePointers } from "./TablePointers.ts"
import { decodeRequirements, decodeUpdates } from "./TableUpdateJson.ts"
import type { ViewRepository } from "./ViewRepository.ts"

interface TableVersion {
  readonly metadataLocation: string
  readonly metadata: TableMetadata
}

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

/** How often a commit starts again because other nodes were faster. Appends win sooner or later; the others see what changed. */
const maxTries = 60

const messageOf = (key: TableKey, isNew: boolean, updates: ReadonlyArray<MetadataUpdate>, commits: number) => {
  const operations = updates.flatMap((update) =>
    update.action === "add-snapshot" ? [update.snapshot.summary.operation ?? "snapshot"] : [],
  )
  const what = isNew ? "create" : operations.length > 0 ? [...new Set(operations)].join(", ") : "change"
  return commits === 1 ? `${what} ${key}` : `${what} ${key} (${commits} commits)`
}

const rowsAdded = (updates: ReadonlyArray<MetadataUpdate>): number | null => {
  const counts = updates.flatMap((update) =>
    update.action === "add-snapshot" ? [Number(update.snapshot.summary["added-records"] ?? 0)] : [],
  )
  return counts.length === 0 ? null : counts.reduce((sum, count) => sum + (Number.isFinite(count) ? count : 0), 0)
}

/** A commit of one table that waits for its turn. */
interface Turn {
  readonly call: RestCall
  readonly wanted: WantedCommit
  readonly access: ReadonlyArray<string>
}

/** Most commits of a hot table that go together into one version of it. */
const maxTogether = 64

/**
 * Commits of tables, one or several at once. A commit changes everything that it says or nothing. Commits of one table that arrive
 * while another of it is under way share the next version: each is judged by what the ones before it made of the table, and one
 * that is refused takes none of the others with it.
 */
export const makeCommitTable = Effect.fnUntraced(function* (rooms: {
  readonly refs: RefScope
  readonly namespaces: Namespaces
  readonly committer: TableCommitter
  readonly views: ViewRepository
  readonly pointers: TablePointers
}) {
  const { committer, namespaces, pointers, refs, views } = rooms
  const catalog = yield* Catalog
  const tables = yield* IcebergTable
  const plan = yield* makeCommitPlan

  const current = Effect.fnUntraced(function* (ref: RefName, key: TableKey) {
    const pointer = yield* catalog.table(ref, key)
    if (pointer === null) return null
    return { metadataLocation: pointer.metadataLocation, metadata: yield* tables.load(pointer.metadataLocation) }
  })

  const written = (
    base: TableVersion | null,
    location: string,
    runId: string,
    updates: ReadonlyArray<MetadataUpdate>,
  ) =>
    tables
      .commit({ base, location, runId, updates, snapshot: null })
      .pipe(Effect.catchTag("UpdateRefused", (error) => Effect.fail(refuse("BadRequestException", error.message))))

  const changeOf = Effect.fnUntraced(function* (
    key: TableKey,
    base: TableVersion | null,
    made: TableVersion,
    updates: ReadonlyArray<MetadataUpdate>,
    commits: number,
  ) {
    return {
      key,
      expected: base?.metadataLocation ?? null,
      next: yield* pointers.to(made),
      message: messageOf(key, base === null, updates, commits),
      rowsAdded: rowsAdded(updates),
    } satisfies PreparedChange as PreparedChange
  })

  const whileConflicts = <A, E extends RestProblem>(effect: Effect.Effect<A, E | CatalogConflict>) =>
    effect.pipe(
      Effect.retry({ times: maxTries, while: (error) => error._tag === "CatalogConflict" }),
      Effect.catchTag("CatalogConflict", (conflict) =>
        Effect.fail(
          refuse("CommitFailedException", `${(conflict as CatalogConflict).message} Nothing was changed. Try again.`),
        ),
      ),
    )

  /** Whoever makes a table keeps its namespace from being dropped and its name from becoming a view's. */
  const holding = (created: ReadonlyArray<TableKey>) =>
    Effect.forEach(created, (key) => Effect.andThen(namespaces.hold(key.namespace), views.refuseTaken(key)), {
      discard: true,
    })

  const together = Effect.fnUntraced(function* (turns: ReadonlyArray<Turn>) {
    const [{ call, wanted }] = turns as readonly [Turn, ...Array<Turn>]
    const { key } = wanted
    const base = yield* current(call.ref, key)
    const runId = committer.newId()
    let metadata = base?.metadata ?? null
    let location = ""
    const updates: Array<MetadataUpdate> = []
    const exits: Array<Exit.Exit<void, RestProblem>> = []
    for (const turn of turns) {
      const planned = yield* Effect.exit(plan(metadata, turn.wanted, runId))
      exits.push(Exit.asVoid(planned))
      if (Exit.isFailure(planned)) continue
      metadata = planned.value.metadata
      location = planned.value.location
      updates.push(...planned.value.updates)
    }
    const accepted = turns.filter((_, index) => Exit.isSuccess(exits[index]!))
    // No updates: all of them were repetitions.
    const made = updates.length === 0 ? base : yield* written(base, location, runId, updates)
    if (made === null) return exits.map((exit) => Exit.map(exit, (): RestAnswer => noContent)) // all of them were refused
    const answerTo = ({ access }: Turn): RestAnswer => ({
      kind: "table",
      table: { ref: call.ref, key, metadataLocation: made.metadataLocation, snapshots: "all", access },
    })
    if (made !== base) {
      const authors = [...new Set(accepted.map((turn) => turn.call.author))].join(", ").slice(0, 500)
      yield* committer.commit(
        { ref: call.ref, author: authors },
        [yield* changeOf(key, base, made, updates, accepted.length)],
        accepted.map((turn) => ({ idempotencyKey: turn.call.idempotencyKey, answer: answerTo(turn) })),
        holding(base === null ? [key] : []),
      )
    }
    return turns.map((turn, index) => Exit.map(exits[index]!, () => answerTo(turn)))
  })

  const turns = new KeyedBatches<Turn, RestAnswer, RestProblem>(maxTogether, (_, batch) =>
    whileConflicts(together(batch)).pipe(
      Effect.catch((problem) => Effect.succeed(batch.map(() => Exit.fail(problem)))),
      Effect.withSpan("CommitTable.together", { attributes: { "batch.items": batch.length } }),
    ),
  )

  const transact = Effect.fnUntraced(function* (call: RestCall, commits: ReadonlyArray<WantedCommit>) {
    const runId = committer.newId()
    const prepared = yield* Effect.forEach(
      commits,
      Effect.fnUntraced(function* (wanted) {
        const base = yield* current(call.ref, wanted.key)
        const { location, updates } = yield* plan(base?.metadata ?? null, wanted, runId)
        if (updates.length === 0 && base !== null) return { key: wanted.key, base, change: null }
        const made = yield* written(base, location, runId, updates)
        return { key: wanted.key, base, change: yield* changeOf(wanted.key, base, made, updates, 1) }
      }),
      { concurrency: 4 },
    )
    const changes = prepared.flatMap(({ change }) => change ?? [])
    if (changes.length === 0) return
    const created = prepared.filter(({ base }) => base === null).map(({ key }) => key)
    yield* committer.commit(
      call,
      changes,
      [{ idempotencyKey: call.idempotencyKey, answer: noContent }],
      holding(created),
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
      yield* refs.writable(call.ref)
      return yield* turns.add(`${call.ref} ${key}`, { call, wanted: yield* decode(key, body), access })
    }),
    transaction: Effect.fnUntraced(function* (call: RestCall) {
      const body = yield* transactionBody(call.body)
      const commits = yield* Effect.forEach(
        body["table-changes"],
        Effect.fnUntraced(function* (commit) {
          const { identifier } = commit
          if (identifier === undefined || identifier === null) {
            return yield* refuse(
              "BadRequestException",
              "A change of the transaction names no table: `identifier` is missing.",
            )
          }
          return yield* decode(yield* keyOf(identifier.namespace, identifier.name, commit), commit)
        }),
      )
      const names = commits.map(({ key }) => key.toString())
      const twice = names.find((name, index) => names.indexOf(name) !== index)
      if (twice !== undefined) {
        return yield* refuse(
          "BadRequestException",
          `Table "${twice}" occurs twice in the transaction. Put its changes together.`,
        )
      }
      yield* refs.writable(call.ref)
      yield* whileConflicts(transact(call, commits))
      return noContent
    }),
  }
})
