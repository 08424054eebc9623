import { type CommitId, CommitNotFound, mainRef, type TableKey } from "@rat/domain"
import { DateTime, Effect } from "effect"
import type { Catalog, DroppedTable } from "../catalog/Catalog.ts"
import { celText, idOf, isMissing, property, refPath, tablesOf } from "./NessieApi.ts"
import { type NessieRefused, unexpected } from "./NessieClient.ts"
import { elementsOf, type NessieReads } from "./NessieReads.ts"
import type { NessieVersions } from "./NessieVersions.ts"

/** Newest commits of a ref that dropped something, among which dropped tables are looked for. */
const maxDrops = 1000

const orUnexpected = <A, E, R>(effect: Effect.Effect<A, E | NessieRefused, R>) =>
  Effect.catchIf(
    effect,
    (error): error is NessieRefused => (error as { readonly _tag?: string })._tag === "NessieRefused",
    (refused) => Effect.fail(unexpected(refused)),
  )

/** Earlier states of main. Nessie keeps them all until its own garbage collection. */
export const makeNessiePast = (reads: NessieReads, versions: NessieVersions) => {
  const hashOf = Effect.fnUntraced(function* (id: CommitId) {
    const text = celText(property.id)
    const [own] = yield* reads.log(refPath("main"), {
      limit: 1,
      filter: `${text} in commit.properties && commit.properties[${text}] == ${celText(String(id))}`,
    })
    if (own !== undefined) return own.commitMeta.hash
    // Commits of others: their ids follow from time and hash.
    const others = yield* reads.log(refPath("main"), { filter: `!(${text} in commit.properties)` })
    return others.find(({ commitMeta }) => idOf(commitMeta) === id)?.commitMeta.hash
  })

  const at: Catalog["Service"]["at"] = Effect.fn("Catalog.at")(function* (commit, filter) {
    const hash = yield* hashOf(commit)
    if (hash === undefined) return yield* new CommitNotFound({ commit: String(commit) })
    return yield* reads.tablesAt(hash, filter)
  }, orUnexpected)

  const dropped: Catalog["Service"]["dropped"] = Effect.fn("Catalog.dropped")(function* (filter = {}) {
    const path = refPath(filter.ref ?? mainRef)
    const entries = yield* reads.log(path, {
      limit: maxDrops,
      filter: "operations.exists(op, op.type == 'DELETE')",
    })
    const newest = new Map<
      string,
      { readonly key: TableKey; readonly parent: string; readonly droppedAt: DateTime.Utc }
    >()
    for (const entry of entries) {
      const deleted = { ...entry, operations: entry.operations?.filter(({ type }) => type === "DELETE") ?? [] }
      for (const key of tablesOf(deleted)) {
        if (newest.has(key.toString()) || (filter.namespace ?? key.namespace) !== key.namespace) continue
        const droppedAt = DateTime.makeUnsafe(entry.commitMeta.authorTime ?? entry.commitMeta.commitTime)
        newest.set(key.toString(), { key, parent: entry.parentCommitHash, droppedAt })
      }
    }
    if (newest.size === 0) return []
    const now = yield* reads.held(
      refPath("main"),
      [...newest.values()].map(({ key }) => elementsOf(key)),
    )
    const gone = [...newest.values()].filter(({ key }) => now.at(elementsOf(key)) === undefined)
    const found = yield* Effect.forEach(
      gone,
      ({ key, parent, droppedAt }) =>
        Effect.gen(function* () {
          const content = (yield* reads.heldAt(parent, [elementsOf(key)])).at(elementsOf(key))
          if (content?.metadataLocation === undefined) return []
          const [pointer] = yield* versions.pointers([{ key, content }])
          return [{ pointer: pointer!, droppedAt } satisfies DroppedTable]
        }).pipe(
          // Nessie's garbage collection has been there.
          Effect.catchTag("NessieRefused", (refused) =>
            isMissing(refused) ? Effect.succeed([]) : Effect.fail(refused),
          ),
        ),
      { concurrency: 8 },
    )
    return found.flat()
  }, orUnexpected)

  return {
    at,
    dropped,
    /** What Nessie keeps is for its own garbage collection to say. */
    prune: () => Effect.succeed(0),
  }
}
