import { BranchConflict, type CommitId, mainRef, type NamespaceName, type RefName, TableKey } from "@rat/domain"
import { Catalog, type Commit, Rebase } from "@rat/lakehouse"
import { Effect, Random, Result } from "effect"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { retryContention } from "../sql/SqlRetry.ts"
import { changesBack } from "./Restoration.ts"

/** How often a merge is put upon what main has become meanwhile. */
const maxTries = 20

export const tableKeyOf = (table: string): TableKey => {
  const [namespace, layer, name] = table.split(".")
  return new TableKey({ namespace, layer, name } as never)
}

/** Main's moves by people: a branch that is merged, a state that comes back. Each is one commit, with its events. */
export const makeBranchMerge = Effect.gen(function* () {
  const catalog = yield* Catalog
  const rebase = yield* Rebase
  const outbox = yield* Outbox
  const sql = yield* SqlClient.SqlClient

  /** Tells of a commit on main as publishing does. Joins the commit's transaction. */
  const announce = (commit: Commit) =>
    Effect.gen(function* () {
      const events = yield* Effect.forEach(commit.tables, (table) => {
        const key = tableKeyOf(table)
        return Effect.map(catalog.table(mainRef, key), (pointer) => ({
          key: table,
          type: "table.published" as const,
          namespace: key.namespace,
          payload: {
            run_id: null,
            table,
            snapshot_id: pointer?.snapshotId ?? null,
            commit_id: commit.id.toString(),
            rows_written: null,
            author: commit.author,
            ...(pointer === null ? { dropped: true } : {}),
          },
        }))
      })
      yield* outbox.append(events)
    })

  const mergeOnce = (branch: RefName, message: string, author: string) =>
    Effect.gen(function* () {
      const commit = yield* catalog.merge(branch, { message, author, runId: null })
      if (commit !== null) yield* announce(commit)
      return commit
    }).pipe(sql.withTransaction, retryContention)

  const rebased = Effect.fnUntraced(function* (
    branch: RefName,
    message: string,
    author: string,
    moved: ReadonlyArray<string>,
  ) {
    let behind = moved
    for (let attempt = 1; attempt <= maxTries; attempt++) {
      const reasons = yield* rebase.branch(branch, behind.map(tableKeyOf))
      if (reasons.length > 0) {
        const conflicts = reasons.map(({ reason, table }) => ({ table: table.toString(), reason }))
        return yield* new BranchConflict({ branch, conflicts })
      }
      const outcome = yield* Effect.result(mergeOnce(branch, message, author))
      if (Result.isSuccess(outcome)) return outcome.success
      if (outcome.failure._tag !== "CatalogConflict") return yield* outcome.failure
      behind = outcome.failure.tables
      yield* Effect.flatMap(Random.next, (share) => Effect.sleep(share * Math.min(250, 5 * 2 ** attempt)))
    }
    const conflicts = behind.map((table) => ({ table, reason: "it moves on main all the time" }))
    return yield* new BranchConflict({ branch, conflicts })
  })

  const merge = Effect.fn("BranchMerge.merge")((branch: RefName, message: string, author: string) =>
    mergeOnce(branch, message, author).pipe(
      Effect.catchTag("CatalogConflict", ({ tables }) =>
        rebase.inTurn(tables, rebased(branch, message, author, tables)),
      ),
    ),
  )

  /** What a merge would do. Tables that only got rows on both sides are put upon main's, which nobody sees. */
  const preview = Effect.fn("BranchMerge.preview")(function* (branch: RefName) {
    const changes = yield* catalog.changes(branch)
    const behind = changes.filter(({ isBehind }) => isBehind)
    const reasons = yield* rebase.branch(
      branch,
      behind.map(({ key }) => key),
    )
    return {
      tables: changes.map(({ key }) => key.toString()),
      conflicts: reasons.map(({ reason, table }) => ({ table: table.toString(), reason })),
    }
  })

  /** Main's tables that differ from what they were after a commit, and the changes that bring that back. */
  const restoration = Effect.fnUntraced(function* (commit: CommitId, namespace: NamespaceName | undefined) {
    const filter = namespace === undefined ? {} : { namespace }
    const [then, now] = yield* Effect.all([catalog.at(commit, filter), catalog.tables(mainRef, filter)])
    return changesBack(then, now)
  })

  const restore = Effect.fn("BranchMerge.restore")(function* (
    commit: CommitId,
    namespace: NamespaceName | undefined,
    author: string,
  ) {
    const changes = yield* restoration(commit, namespace)
    if (changes.length === 0) return null
    return yield* Effect.gen(function* () {
      const made = yield* catalog.commit(mainRef, {
        message: `restore ${namespace ?? "main"} to commit ${commit}`,
        author,
        runId: null,
        changes,
      })
      yield* announce(made)
      return made
    }).pipe(sql.withTransaction, retryContention)
  })

  return { announce, merge, preview, restoration, restore }
})
