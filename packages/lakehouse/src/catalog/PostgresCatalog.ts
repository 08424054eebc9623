import { CommitId, RefExists, type RefName, RefNotFound, type TableKey } from "@rat/domain"
import { DateTime, Effect, Layer, Result } from "effect"
import { SqlClient } from "effect/sql"
import { Catalog, CatalogConflict, type Commit, type TableChange } from "./Catalog.ts"
import {
  type CommitRow,
  type OutcomeRow,
  type PointerRow,
  type RefRow,
  toChangesJson,
  toCommit,
  toCommitId,
  toPointer,
  toRef,
} from "./CatalogRows.ts"

/**
 * The catalog in Postgres (`migrations/0001_catalog.sql` has the tables, the functions and why they are that way).
 * Every method is one round trip, except when a ref turns out to be missing or taken.
 */

export const makePostgresCatalog = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const refColumns = sql.literal(`
    r.name, r.kind, r.run_id, r.base_commit, r.created_at, r.expires_at,
    coalesce((select max(k.id) from catalog_commit k where k.ref_id = r.id), r.start_commit) as head`)
  const pointerColumns = (alias: string) =>
    sql.literal(
      ["namespace", "layer", "name", "metadata_location", "snapshot_id", "row_count", "size_bytes", "updated_at"]
        .map((column) => `${alias}.${column}`)
        .join(", "),
    )

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
    const [made] = yield* sql<RefRow>`
      with source as (
        select * from catalog_ref where name = ${options.from}
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

  const createBranch = Effect.fn("Catalog.createBranch")(
    (name: RefName, options: { readonly from: RefName; readonly runId?: string; readonly expiresAt?: DateTime.Utc }) =>
      create("branch", name, options),
  )
  const createTag = Effect.fn("Catalog.createTag")((name: RefName, options: { readonly from: RefName }) =>
    create("tag", name, options),
  )

  const refuseMain = (name: RefName, act: string) =>
    name === "main" ? Effect.die(new Error(`main cannot be ${act}`)) : Effect.void

  const deleteRef = Effect.fn("Catalog.deleteRef")(function* (name: RefName) {
    yield* refuseMain(name, "deleted")
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

  const table = Effect.fn("Catalog.table")(function* (name: RefName, key: TableKey) {
    const matches = (alias: string) =>
      sql`${sql.literal(`${alias}.namespace`)} = ${key.namespace} and ${sql.literal(`${alias}.layer`)} = ${key.layer} and ${sql.literal(`${alias}.name`)} = ${key.name}`
    if (name === "main") {
      const [row] = yield* sql<PointerRow>`
        select ${pointerColumns("t")}
        from catalog_table t
        where ${matches("t")} and t.metadata_location is not null`
      return row === undefined ? null : toPointer(row)
    }
    const [row] = yield* sql<PointerRow>`
      select ${pointerColumns("p")}
      from catalog_ref r
      left join lateral (
        (
          select 0 as place, ${pointerColumns("o")}
          from catalog_override o
          where o.ref_id = r.id and ${matches("o")}
        )
        union all
        (
          select 1 as place, ${pointerColumns("v")}
          from catalog_version v
          where ${matches("v")} and catalog_sees(r, v.commit_id, v.xid)
          order by v.commit_id desc
          limit 1
        )
        order by place
        limit 1
      ) p on true
      where r.name = ${name}`
    if (row === undefined) return yield* new RefNotFound({ ref: name })
    return row.metadata_location === null ? null : toPointer(row)
  })

  const tables = Effect.fn("Catalog.tables")(function* (
    name: RefName,
    filter: { readonly namespace?: string; readonly layer?: string } = {},
  ) {
    const matches = (alias: string) =>
      sql.and([
        filter.namespace === undefined ? "true" : sql`${sql.literal(`${alias}.namespace`)} = ${filter.namespace}`,
        filter.layer === undefined ? "true" : sql`${sql.literal(`${alias}.layer`)} = ${filter.layer}`,
      ])
    if (name === "main") {
      const rows = yield* sql<PointerRow>`
        select ${pointerColumns("t")}
        from catalog_table t
        where t.metadata_location is not null and ${matches("t")}
        order by t.namespace, t.layer, t.name`
      return rows.map(toPointer)
    }
    // Most of main's tables have not moved since the base, so their current row is the answer; only the others are
    // looked up among the versions.
    const rows = yield* sql<PointerRow>`
      select ${pointerColumns("p")}
      from catalog_ref r
      cross join lateral (
        select ${pointerColumns("o")}
        from catalog_override o
        where o.ref_id = r.id and ${matches("o")}
        union all
        select ${pointerColumns("t")}
        from catalog_table t
        where catalog_sees(r, t.commit_id, t.xid) and ${matches("t")} and not exists (
          select from catalog_override o
          where o.ref_id = r.id and o.namespace = t.namespace and o.layer = t.layer and o.name = t.name
        )
        union all
        select ${pointerColumns("v")}
        from catalog_table t
        cross join lateral (
          select *
          from catalog_version v
          where v.namespace = t.namespace and v.layer = t.layer and v.name = t.name
            and catalog_sees(r, v.commit_id, v.xid)
          order by v.commit_id desc
          limit 1
        ) v
        where not catalog_sees(r, t.commit_id, t.xid) and ${matches("t")} and not exists (
          select from catalog_override o
          where o.ref_id = r.id and o.namespace = t.namespace and o.layer = t.layer and o.name = t.name
        )
      ) p
      where r.name = ${name} and p.metadata_location is not null
      order by p.namespace, p.layer, p.name`
    if (rows.length === 0) yield* requireRef(name)
    return rows.map(toPointer)
  })

  const commit = Effect.fn("Catalog.commit")(function* (
    name: RefName,
    change: {
      readonly message: string
      readonly author: string
      readonly runId: string | null
      readonly changes: ReadonlyArray<TableChange>
    },
  ) {
    const [row] = yield* sql<OutcomeRow>`
      select *
      from catalog_commit_changes(
        ${name}, ${change.message}, ${change.author}, ${change.runId}, ${toChangesJson(change.changes)}
      )`
    if (row === undefined || row.outcome === "missing") return yield* new RefNotFound({ ref: name })
    if (row.outcome === "conflict") return yield* new CatalogConflict({ ref: name, tables: row.o_tables ?? [] })
    return toCommit(name, change.runId, row)
  })

  const mergeMany = Effect.fn("Catalog.mergeMany")(function* (
    merges: ReadonlyArray<{
      readonly branch: RefName
      readonly message: string
      readonly author: string
      readonly runId: string | null
    }>,
  ) {
    for (const { branch } of merges) yield* refuseMain(branch, "merged into itself")
    const encoded = merges.map(({ runId, ...merge }) => ({ ...merge, run_id: runId }))
    const rows = yield* sql<OutcomeRow>`select * from catalog_merge(${JSON.stringify(encoded)})`
    return rows.map((row): Result.Result<Commit | null, RefNotFound | CatalogConflict> => {
      switch (row.outcome) {
        case "missing":
          return Result.fail(new RefNotFound({ ref: row.o_branch }))
        case "conflict":
          return Result.fail(new CatalogConflict({ ref: "main", tables: row.o_tables ?? [] }))
        case "empty":
          return Result.succeed(null)
        default:
          return Result.succeed(toCommit("main", row.o_run_id, row))
      }
    })
  })

  const merge = Effect.fn("Catalog.merge")(function* (
    branch: RefName,
    options: { readonly message: string; readonly author: string; readonly runId: string | null },
  ) {
    const [result] = yield* mergeMany([{ branch, ...options }])
    return yield* Effect.fromResult(result!)
  })

  const history = Effect.fn("Catalog.history")(function* (
    name: RefName,
    options: { readonly limit: number; readonly before?: CommitId; readonly table?: TableKey },
  ) {
    const { table, limit } = options
    const isBefore = options.before === undefined ? sql`true` : sql`k.id < ${options.before}`
    const columns = sql.literal("k.id, k.ref_id, k.message, k.author, k.run_id, k.committed_at, k.tables")
    // Two short index scans, newest first: the ref's own commits, and main's as far as the ref sees them.
    const rows = yield* sql<CommitRow>`
      select
        k.id, k.ref_id = 0 as is_main, k.message, k.author, k.run_id, k.committed_at, k.tables,
        coalesce(
          (select max(p.id) from catalog_commit p where p.ref_id = k.ref_id and p.id < k.id),
          case when k.ref_id <> 0 then r.start_commit end
        ) as parent
      from catalog_ref r
      cross join lateral (
        (
          select ${columns}
          from catalog_commit k
          where k.ref_id = r.id and r.id <> 0 and ${isBefore}
            and ${table === undefined ? "true" : sql`k.tables @> array[${table.toString()}::text]`}
          order by k.id desc
          limit ${limit}
        )
        union all
        (
          select ${columns}
          from ${
            table === undefined
              ? sql`catalog_commit k where k.ref_id = 0`
              : sql`catalog_version v
          join catalog_commit k on k.id = v.commit_id
          where v.namespace = ${table.namespace} and v.layer = ${table.layer} and v.name = ${table.name}`
          }
            and (r.id = 0 or catalog_sees(r, k.id, k.xid)) and ${isBefore}
          order by k.id desc
          limit ${limit}
        )
      ) k
      where r.name = ${name}
      order by k.id desc
      limit ${limit}`
    if (rows.length === 0) yield* requireRef(name)
    return rows.map(
      (row): Commit => ({
        id: CommitId.make(row.id),
        ref: row.is_main ? "main" : name,
        parent: toCommitId(row.parent),
        message: row.message,
        author: row.author,
        runId: row.run_id,
        committedAt: DateTime.fromDateUnsafe(row.committed_at),
        tables: row.tables,
      }),
    )
  })

  return Catalog.of({
    createBranch,
    createTag,
    deleteRef,
    expireBranch,
    ref,
    refs,
    table,
    tables,
    commit,
    merge,
    mergeMany,
    history,
    collectExpired,
  })
})

export const PostgresCatalog = {
  layer: Layer.effect(Catalog, makePostgresCatalog),
}
