import { CommitId, RefExists, RefName } from "@rat/domain"
import { DateTime, Effect, Result, Schema } from "effect"
import type { SqlClient } from "effect/sql"
import type { RefState } from "../catalog/Catalog.ts"
import {
  type Ask,
  celText,
  idOf,
  isMissing,
  isRefusedName,
  OneReference,
  type Reference,
  ReferencePage,
  refPath,
} from "./NessieApi.ts"
import { type NessieRefused, unexpected } from "./NessieClient.ts"
import type { NessieReads } from "./NessieReads.ts"
import type { NessieVersions } from "./NessieVersions.ts"

interface RefRow {
  readonly name: string
  readonly run_id: string | null
  readonly base_hash: string
  readonly base_commit: bigint | null
  readonly created_at: Date
  readonly expires_at: Date | null
}

/** How often a ref that moves is looked at again before it is deleted. */
const maxDeletes = 10

const isRefName = Schema.is(RefName)

/**
 * Branches and tags of a Nessie server. Creating one is one request whatever the number of tables. Nessie keeps nothing about a
 * branch but its head: the run it belongs to, its base and its time are a row of ours, which joins the caller's transaction.
 */
export const makeNessieRefs = (
  ask: Ask,
  sql: SqlClient.SqlClient,
  reads: NessieReads,
  versions: NessieVersions,
  noAncestor: string,
) => {
  const { orMissing } = reads

  const rowOf = Effect.fnUntraced(function* (name: string) {
    const [row] = yield* sql<RefRow>`
      select name, run_id, base_hash, base_commit, created_at, expires_at
      from nessie_ref
      where name = ${name}`
    return row
  })

  const find = (name: string) =>
    Effect.map(ask(OneReference, "GET", `/trees/${refPath(name)}?fetch=ALL`), ({ reference }) => reference)

  const headOf = (reference: Reference) => {
    const meta = reference.metadata?.commitMetaOfHEAD
    return meta == null ? null : idOf(meta)
  }

  /** Main as the branch began; of branches that somebody else made, the newest commit that both have. */
  const baseOf = (reference: Reference, row: RefRow | undefined) =>
    row?.base_hash ?? reference.metadata?.commonAncestorHash ?? noAncestor

  const toState = Effect.fnUntraced(function* (reference: Reference, row: RefRow | undefined) {
    const head = headOf(reference)
    const base =
      reference.name === "main"
        ? null
        : row !== undefined
          ? row.base_commit === null
            ? null
            : CommitId.make(row.base_commit)
          : yield* reads.idAt(baseOf(reference, row))
    return {
      name: RefName.make(reference.name),
      kind: reference.type === "TAG" ? "tag" : "branch",
      head,
      base,
      runId: row?.run_id ?? null,
      createdAt: row === undefined ? DateTime.makeUnsafe(0) : DateTime.fromDateUnsafe(row.created_at),
      expiresAt: row?.expires_at == null ? null : DateTime.fromDateUnsafe(row.expires_at),
    } satisfies RefState
  })

  const stateOf = Effect.fnUntraced(function* (name: RefName) {
    return yield* toState(yield* find(name), yield* rowOf(name))
  })

  const ref = Effect.fn("Catalog.ref")((name: RefName) => stateOf(name).pipe(orMissing(name)))

  const refs = Effect.fn("Catalog.refs")(function* (options: { readonly limit: number; readonly after?: RefName }) {
    const filter =
      options.after === undefined ? "" : `&filter=${encodeURIComponent(`ref.name > ${celText(options.after)}`)}`
    const found: Array<Reference> = []
    let token = ""
    do {
      const page = yield* ask(
        ReferencePage,
        "GET",
        `/trees?fetch=ALL&max-records=${options.limit}${filter}${token}`,
      ).pipe(Effect.catchTag("NessieRefused", (refused) => Effect.fail(unexpected(refused))))
      found.push(...page.references.filter(({ name }) => isRefName(name)))
      token = page.hasMore && found.length < options.limit ? `&page-token=${encodeURIComponent(page.token ?? "")}` : ""
    } while (token !== "")
    const inOrder = found.toSorted((left, right) => (left.name < right.name ? -1 : 1)).slice(0, options.limit)
    const rows = yield* sql<RefRow>`
      select name, run_id, base_hash, base_commit, created_at, expires_at
      from nessie_ref
      where name = any(${inOrder.map(({ name }) => name)})`
    const known = new Map(rows.map((row) => [row.name, row]))
    return yield* Effect.forEach(inOrder, (reference) => toState(reference, known.get(reference.name)), {
      concurrency: 8,
    }).pipe(Effect.catchTag("NessieRefused", (refused) => Effect.fail(unexpected(refused))))
  })

  /**
   * The row first: a crash before the request leaves a row without a branch, which the repeated call completes (same run) or
   * takes over (no branch is there).
   */
  const create = Effect.fnUntraced(function* (
    kind: "branch" | "tag",
    name: RefName,
    options: { readonly from: RefName; readonly runId?: string; readonly expiresAt?: DateTime.Utc },
  ) {
    const runId = options.runId ?? null
    const source = yield* find(options.from).pipe(orMissing(options.from))
    const sourceRow = options.from === "main" ? undefined : yield* rowOf(options.from)
    const isOwn = (state: RefState) =>
      kind === "branch" && state.kind === "branch" && runId !== null && state.runId === runId
    const baseHash = options.from === "main" ? source.hash : baseOf(source, sourceRow)
    const baseCommit = options.from === "main" ? headOf(source) : yield* reads.idAt(baseHash).pipe(orMissing(name))
    const write = (whenThere: ReturnType<typeof sql.literal>) => sql<RefRow>`
      insert into nessie_ref (name, run_id, base_hash, base_commit, expires_at)
      values (
        ${name}, ${runId}, ${baseHash}, ${baseCommit},
        ${options.expiresAt === undefined ? null : DateTime.toDateUtc(options.expiresAt)}::timestamptz
      )
      on conflict (name) do ${whenThere}
      returning name, run_id, base_hash, base_commit, created_at, expires_at`
    let [row] = yield* write(sql.literal("nothing"))
    if (row === undefined) {
      const existing = yield* Effect.result(stateOf(name).pipe(orMissing(name)))
      if (Result.isSuccess(existing)) {
        return isOwn(existing.success) ? existing.success : yield* new RefExists({ ref: name })
      }
      if (existing.failure._tag !== "RefNotFound") return yield* existing.failure
      const [taken] = yield* write(
        sql.literal(`update
        set run_id = excluded.run_id,
            base_hash = excluded.base_hash,
            base_commit = excluded.base_commit,
            created_at = now(),
            expires_at = excluded.expires_at`),
      )
      row = taken
    }
    const path = `/trees?name=${encodeURIComponent(name)}&type=${kind.toUpperCase()}`
    const made = yield* ask(OneReference, "POST", path, {
      type: source.type,
      name: source.name,
      hash: source.hash,
    }).pipe(
      Effect.map(({ reference }) => reference),
      Effect.catchTag("NessieRefused", (refused) =>
        refused.code === "REFERENCE_ALREADY_EXISTS"
          ? Effect.succeed(null)
          : Effect.fail(isRefusedName(refused) ? unexpected(refused) : refused),
      ),
      orMissing(options.from),
    )
    if (made !== null) return yield* toState({ ...made, metadata: source.metadata }, row).pipe(orMissing(name))
    // Somebody else's branch without a row of ours, or our own first try made it and its answer was lost.
    const state = yield* stateOf(name).pipe(orMissing(options.from))
    return isOwn(state) ? state : yield* new RefExists({ ref: name })
  })

  const createBranch = Effect.fn("Catalog.createBranch")(
    (name: RefName, options: { readonly from: RefName; readonly runId?: string; readonly expiresAt?: DateTime.Utc }) =>
      create("branch", name, options),
  )
  const createTag = Effect.fn("Catalog.createTag")((name: RefName, options: { readonly from: RefName }) =>
    create("tag", name, options),
  )

  const refuseMain = (name: RefName, act: string) =>
    name === "main" ? Effect.die(new Error(`main cannot be ${act}`)) : Effect.void

  /** Nessie deletes a ref only at the head that one has seen: one that moves meanwhile is looked at again. */
  const remove = (
    name: RefName,
    tries = maxDeletes,
  ): Effect.Effect<void, NessieRefused | Effect.Error<ReturnType<typeof find>>> =>
    find(name).pipe(
      Effect.flatMap(({ type, hash }) => ask(OneReference, "DELETE", `/trees/${refPath(name, hash)}?type=${type}`)),
      Effect.asVoid,
      Effect.catchTag("NessieRefused", (refused) => {
        if (isMissing(refused) || isRefusedName(refused)) return Effect.void
        return refused.status === 409 && tries > 1 ? remove(name, tries - 1) : Effect.fail(refused)
      }),
    )

  /** Without its row, which holds the fence. */
  const removeBranch = (name: RefName) =>
    remove(name).pipe(Effect.catchTag("NessieRefused", (refused) => Effect.fail(unexpected(refused))))

  const deleteUnguarded = Effect.fnUntraced(function* (name: RefName) {
    yield* removeBranch(name)
    yield* sql`delete from nessie_ref where name = ${name}`
  })

  const deleteRef = Effect.fn("Catalog.deleteRef")(function* (name: RefName) {
    yield* refuseMain(name, "deleted")
    yield* deleteUnguarded(name)
  })

  /** Ends a branch whose head was just seen. One that moved since is kept: somebody wrote to it. */
  const end = Effect.fnUntraced(function* (name: RefName, head: string) {
    const isGone = yield* ask(OneReference, "DELETE", `/trees/${refPath(name, head)}?type=BRANCH`).pipe(
      Effect.as(true),
      Effect.catchTag("NessieRefused", (refused) =>
        isMissing(refused)
          ? Effect.succeed(true)
          : refused.status === 409
            ? Effect.succeed(false)
            : Effect.fail(refused),
      ),
    )
    if (isGone) yield* sql`delete from nessie_ref where name = ${name}`
  })

  const expireBranch = Effect.fn("Catalog.expireBranch")(function* (name: RefName, at: DateTime.Utc) {
    yield* refuseMain(name, "expired")
    const found = yield* Effect.result(find(name).pipe(orMissing(name)))
    if (Result.isFailure(found)) {
      return found.failure._tag === "RefNotFound" ? undefined : yield* found.failure
    }
    if (found.success.type !== "BRANCH") return
    yield* sql`
      insert into nessie_ref (name, base_hash, expires_at)
      values (${name}, ${baseOf(found.success, undefined)}, ${DateTime.toDateUtc(at)}::timestamptz)
      on conflict (name) do update
      set expires_at = excluded.expires_at`
  })

  const collectExpired = Effect.fn("Catalog.collectExpired")(function* (limit: number) {
    const rows = yield* sql<{ readonly name: string }>`
      select name
      from nessie_ref
      where expires_at < now()
      order by expires_at, name
      limit ${limit}`
    for (const row of rows) yield* deleteUnguarded(RefName.make(row.name))
    yield* versions.prune
    return rows.map((row) => row.name)
  })

  return {
    createBranch,
    createTag,
    removeBranch,
    deleteRef,
    end,
    expireBranch,
    collectExpired,
    ref,
    refs,
    find,
    rowOf,
    baseOf,
    refuseMain,
  }
}

export type NessieRefs = ReturnType<typeof makeNessieRefs>
