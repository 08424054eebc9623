import { CatalogCommit, type CommitId, CommitNotFound, mainRef, Ref, type RefName } from "@rat/domain"
import { Catalog, type Commit, type RefState } from "@rat/lakehouse"
import { type DateTime, Effect } from "effect"
import { SqlClient } from "effect/sql"
import { checkNewName } from "./RefRules.ts"
import { changesBack } from "./Restoration.ts"

export const toRef = (state: RefState): Ref =>
  new Ref({
    name: state.name,
    kind: state.kind,
    head: state.head,
    base: state.base,
    run_id: state.runId,
    created_at: state.createdAt,
    expires_at: state.expiresAt,
  })

export const toCatalogCommit = (commit: Commit): CatalogCommit =>
  new CatalogCommit({
    id: commit.id,
    ref: commit.ref,
    parent: commit.parent,
    message: commit.message,
    author: commit.author,
    run_id: commit.runId,
    committed_at: commit.committedAt,
    tables: commit.tables,
  })

/** Refs read at once while a page of one kind is collected. */
const pageSize = 200

/** Refs as clients see them, and new ones. */
export const makeRefView = Effect.gen(function* () {
  const catalog = yield* Catalog
  const sql = yield* SqlClient.SqlClient

  /** A page of refs of one kind; `next` is the name behind which the next one begins. */
  const list = Effect.fn("RefView.list")(function* (
    wanted: (ref: RefState) => boolean,
    page: { readonly limit: number; readonly after: string | undefined },
  ) {
    const found: Array<RefState> = []
    let after = page.after as RefName | undefined
    for (;;) {
      const refs = yield* catalog.refs({ limit: pageSize, ...(after === undefined ? {} : { after }) })
      for (const ref of refs) {
        if (!wanted(ref)) continue
        if (found.length === page.limit) return { refs: found.map(toRef), next: found.at(-1)!.name as string | null }
        found.push(ref)
      }
      if (refs.length < pageSize) return { refs: found.map(toRef), next: null }
      after = refs.at(-1)!.name
    }
  })

  /** Sets a new branch to what main was after a commit. */
  const moveBack = Effect.fnUntraced(function* (name: RefName, commit: CommitId) {
    const [newest] = yield* catalog.history(mainRef, { limit: 1 })
    const [found] = yield* catalog.history(mainRef, { limit: 1, before: (commit + 1n) as CommitId })
    if (newest === undefined || found === undefined || found.id !== commit) {
      return yield* new CommitNotFound({ commit: commit.toString() })
    }
    const [then, now] = yield* Effect.all([catalog.at(commit), catalog.tables(name)])
    const changes = changesBack(then, now)
    if (changes.length === 0) return
    yield* catalog.commit(name, {
      message: `main after commit ${commit}`,
      author: "rat",
      runId: null,
      changes,
    })
  })

  const createBranch = Effect.fn("RefView.createBranch")(function* (
    name: RefName,
    start: { readonly from: RefName | undefined; readonly commit: CommitId | undefined },
    expiresAt: DateTime.Utc | undefined,
  ) {
    yield* checkNewName(name)
    const options = { from: start.from ?? mainRef, ...(expiresAt === undefined ? {} : { expiresAt }) }
    const { commit } = start
    if (commit === undefined) return toRef(yield* catalog.createBranch(name, options))
    return yield* Effect.gen(function* () {
      yield* catalog.createBranch(name, { ...options, from: mainRef })
      yield* moveBack(name, commit)
      return toRef(yield* catalog.ref(name))
    }).pipe(sql.withTransaction)
  })

  const createTag = Effect.fn("RefView.createTag")(function* (
    name: RefName,
    start: { readonly from: RefName | undefined; readonly commit: CommitId | undefined },
  ) {
    yield* checkNewName(name)
    const { commit } = start
    if (commit === undefined) return toRef(yield* catalog.createTag(name, { from: start.from ?? mainRef }))
    // A tag never moves: it is made of a branch that has been moved back.
    const scratch = `${name}.restored` as RefName
    return yield* Effect.gen(function* () {
      yield* catalog.createBranch(scratch, { from: mainRef })
      yield* moveBack(scratch, commit)
      const tag = yield* catalog.createTag(name, { from: scratch })
      yield* catalog.deleteRef(scratch)
      return toRef(tag)
    }).pipe(sql.withTransaction)
  })

  return { list, createBranch, createTag }
})
