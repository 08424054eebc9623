import { RefExists, type RefName, RefNotFound } from "@rat/domain"
import { DateTime, Effect, Exit, Option } from "effect"
import { SqlClient } from "effect/sql"
import { makeGroupCommit } from "../postgres/GroupCommit.ts"
import { BranchHeld, type Catalog, type RefState } from "./Catalog.ts"
import { type RefRow, toRef } from "./CatalogRows.ts"

/** Most branches of one statement, and statements on their way at the same time. */
const groupSize = 128
const groupFlights = 2

interface NewBranch {
  readonly name: RefName
  readonly runId: string | undefined
  readonly expiresAt: DateTime.Utc | undefined
}

const toNewBranchJson = ({ expiresAt, name, runId }: NewBranch) => ({
  name,
  run_id: runId ?? null,
  expires_at: expiresAt === undefined ? null : DateTime.formatIso(expiresAt),
})

interface Hold {
  readonly name: RefName
  readonly from: RefName
  readonly runId: string
  readonly fence: bigint
  readonly isFresh?: boolean
}
type HoldOutcome = "held" | "refused" | "taken" | "missing"
type HoldError = RefNotFound | RefExists | BranchHeld

const toHoldJson = ({ fence, from, isFresh, name, runId }: Hold) => ({
  name,
  source: from,
  run_id: runId,
  fence: fence.toString(),
  is_fresh: isFresh ?? false,
})

/** Branches and tags of the catalog in Postgres: making, finding and ending them. */
export const makePostgresRefs = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const refColumns = sql.literal(`
    r.name, r.kind, r.run_id, r.base_commit, r.created_at, r.expires_at,
    coalesce((select max(k.id) from catalog_commit k where k.ref_id = r.id), r.start_commit) as head`)
  const find = (name: string) => sql<RefRow>`select ${refColumns} from catalog_ref r where r.name = ${name}`

  const requireRef = Effect.fnUntraced(function* (name: RefName) {
    const [row] = yield* find(name)
    return row === undefined ? yield* new RefNotFound({ ref: name }) : toRef(row)
  })

  const ref = Effect.fn("Catalog.ref")(requireRef)

  const refs = Effect.fn("Catalog.refs")(function* (options: { readonly limit: number; readonly after?: RefName }) {
    const rows = yield* sql<RefRow>`
      select ${refColumns}
      from catalog_ref r
      where r.name > ${options.after ?? ""}
      order by r.name
      limit ${options.limit}`
    return rows.map(toRef)
  })

  /** One insert, whatever the number of tables: what is seen of main is a snapshot; only a branch's own changes are copied. */
  const create = Effect.fnUntraced(function* (
    kind: "branch" | "tag",
    name: RefName,
    options: { readonly from: RefName; readonly runId?: string; readonly expiresAt?: DateTime.Utc },
  ) {
    const runId = options.runId ?? null
    // What another ref keeps from retention (PostgresRetention) must not end before the new one keeps it. Main never ends.
    const isMain = options.from === "main"
    const [made] = yield* sql<RefRow>`
      with source as (
        select * from catalog_ref where name = ${options.from}${isMain ? sql`` : sql` for key share`}
      ), made as (
        insert into catalog_ref (
          name, kind, run_id, expires_at, start_commit, base_commit, base_limit, base_xid, base_snapshot
        )
        select
          ${name}, ${kind}, ${runId},
          ${options.expiresAt === undefined ? null : DateTime.toDateUtc(options.expiresAt)}::timestamptz,
          coalesce((select max(id) from catalog_commit where ref_id = s.id), s.start_commit),
          case when s.id = 0 then (select max(id) from catalog_commit where ref_id = 0) else s.base_commit end,
          case when s.id = 0 then (select last_value from catalog_commit_id) else s.base_limit end,
          case when s.id = 0 then pg_current_xact_id() else s.base_xid end,
          case when s.id = 0 then pg_current_snapshot() else s.base_snapshot end
        from source s
        on conflict (name) do nothing
        returning *
      ), copied as (
        insert into catalog_override (
          ref_id, namespace, layer, name, commit_id, metadata_location, snapshot_id, row_count, size_bytes, updated_at
        )
        select
          made.id, o.namespace, o.layer, o.name, o.commit_id,
          o.metadata_location, o.snapshot_id, o.row_count, o.size_bytes, o.updated_at
        from made
        cross join source s
        join catalog_override o on o.ref_id = s.id
        where s.id <> 0
      )
      select name, kind, run_id, base_commit, created_at, expires_at, start_commit as head
      from made`
    if (made !== undefined) return toRef(made)
    yield* requireRef(options.from)
    const existing = yield* requireRef(name)
    if (kind === "branch" && existing.kind === "branch" && runId !== null && existing.runId === runId) return existing
    return yield* new RefExists({ ref: name })
  })

  /** Branches of main that are asked for at the same time are made by one statement; a name that is taken has no row. */
  const createGroup = yield* makeGroupCommit<NewBranch, RefState | null>({
    name: "Catalog.createBranch.group",
    maxItems: groupSize,
    flights: groupFlights,
    run: (items) =>
      Effect.map(
        sql<RefRow>`
          insert into catalog_ref (
            name, kind, run_id, expires_at, start_commit, base_commit, base_limit, base_xid, base_snapshot
          )
          select
            i.name, 'branch', i.run_id, i.expires_at, newest.id, newest.id,
            (select last_value from catalog_commit_id), pg_current_xact_id(), pg_current_snapshot()
          from jsonb_to_recordset(${JSON.stringify(items.map(toNewBranchJson))}) as i (
            name text, run_id text, expires_at timestamptz
          )
          cross join (select max(id) as id from catalog_commit where ref_id = 0) newest
          order by i.name
          on conflict (name) do nothing
          returning name, kind, run_id, base_commit, created_at, expires_at, start_commit as head`,
        (rows) => {
          const made = new Map(rows.map((row) => [row.name, toRef(row)]))
          return items.map(({ name }) => {
            const ref = made.get(name) ?? null
            made.delete(name) // asked for twice: one of the two made it
            return Exit.succeed(ref)
          })
        },
      ),
  })

  const refuseMain = (name: RefName, act: string) =>
    name === "main" ? Effect.die(new Error(`main cannot be ${act}`)) : Effect.void

  const isAlone = Effect.map(Effect.serviceOption(sql.transactionService), Option.isNone)

  const createBranch = Effect.fn("Catalog.createBranch")(function* (
    name: RefName,
    options: { readonly from: RefName; readonly runId?: string; readonly expiresAt?: DateTime.Utc },
  ) {
    if (options.from === "main" && (yield* isAlone)) {
      const made = yield* createGroup({ name, runId: options.runId, expiresAt: options.expiresAt })
      if (made !== null) return made
    }
    return yield* create("branch", name, options)
  })

  const hold = (items: ReadonlyArray<Hold>) => sql<RefRow & { readonly outcome: HoldOutcome }>`
    select h.*
    from jsonb_to_recordset(${JSON.stringify(items.map((item, place) => ({ ...toHoldJson(item), place })))}) as i (
      name text, source text, run_id text, fence bigint, is_fresh boolean, place integer
    )
    cross join lateral catalog_hold_branch(i.name, i.source, i.run_id, i.fence, i.is_fresh) h
    order by i.place`
  const toHeld = (row: RefRow & { readonly outcome: HoldOutcome }): Exit.Exit<RefState, HoldError> => {
    const ref = row.name
    switch (row.outcome) {
      case "held":
        return Exit.succeed(toRef(row))
      case "refused":
        return Exit.fail(new BranchHeld({ ref }))
      case "taken":
        return Exit.fail(new RefExists({ ref }))
      case "missing":
        return Exit.fail(new RefNotFound({ ref }))
    }
  }
  /** Runs that begin at the same time get their branches by one statement, too. */
  const holdGroup = yield* makeGroupCommit<Hold, RefState, HoldError>({
    name: "Catalog.holdBranch.group",
    maxItems: groupSize,
    flights: groupFlights,
    // By name, so that two statements wait for each other instead of meeting in a deadlock.
    run: (items) => {
      const inOrder = items.toSorted((left, right) => (left.name < right.name ? -1 : left.name > right.name ? 1 : 0))
      return Effect.map(hold(inOrder), (rows) => {
        const answers = new Map(inOrder.map((item, index) => [item, toHeld(rows[index]!)]))
        return items.map((item) => answers.get(item)!)
      })
    },
  })
  const holdBranch: Catalog["Service"]["holdBranch"] = Effect.fn("Catalog.holdBranch")(function* (name, options) {
    yield* refuseMain(name, "held")
    const item: Hold = { name, ...options }
    if (yield* isAlone) return yield* holdGroup(item)
    return yield* toHeld((yield* hold([item]))[0]!)
  })

  const createTag = Effect.fn("Catalog.createTag")((name: RefName, options: { readonly from: RefName }) =>
    create("tag", name, options),
  )

  const deleteGroup = yield* makeGroupCommit<RefName, void>({
    name: "Catalog.deleteRef.group",
    maxItems: groupSize,
    flights: groupFlights,
    run: (names) =>
      Effect.as(
        sql`
          select catalog_delete_ref(i.name)
          from (
            select distinct name from jsonb_array_elements_text(${JSON.stringify(names)}) as n (name) order by name
          ) i`,
        names.map(() => Exit.void),
      ),
  })

  const deleteRef = Effect.fn("Catalog.deleteRef")(function* (name: RefName) {
    yield* refuseMain(name, "deleted")
    if (yield* isAlone) return yield* deleteGroup(name)
    yield* sql`select catalog_delete_ref(${name})`
  })

  const expireBranch = Effect.fn("Catalog.expireBranch")(function* (name: RefName, at: DateTime.Utc) {
    yield* refuseMain(name, "expired")
    yield* sql`update catalog_ref set expires_at = ${DateTime.toDateUtc(at)} where name = ${name} and kind = 'branch'`
  })

  const collectExpired = Effect.fn("Catalog.collectExpired")(function* (limit: number) {
    const rows = yield* sql<{ name: string }>`select name from catalog_collect_expired(${limit}) as name`
    return rows.map((row) => row.name)
  })

  return {
    createBranch,
    holdBranch,
    createTag,
    deleteRef,
    expireBranch,
    collectExpired,
    ref,
    refs,
    requireRef,
    refuseMain,
  }
})
