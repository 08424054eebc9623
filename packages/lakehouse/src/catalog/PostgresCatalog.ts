import { CommitId, CommitNotFound, type RefName, RefNotFound, type TableKey } from "@rat/domain"
import { DateTime, Effect, Layer, Result } from "effect"
import { SqlClient } from "effect/sql"
import { BranchHeld, Catalog, type CatalogChange, CatalogConflict, type Commit, type Merge } from "./Catalog.ts"
import {
  type CommitRow,
  type OutcomeRow,
  type PointerRow,
  toChangesJson,
  toCommit,
  toCommitId,
  toPointer,
} from "./CatalogRows.ts"
import { makePostgresRefs } from "./PostgresRefs.ts"
import { makePostgresRetention } from "./PostgresRetention.ts"

/**
 * The catalog in Postgres (`migrations/0001_catalog.sql` has the tables, the functions and why they are that way).
 * Every method is one round trip, except when a ref turns out to be missing or taken.
 */

export const makePostgresCatalog = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const refs = yield* makePostgresRefs
  const { requireRef } = refs

  const pointerColumns = (alias: string) =>
    sql.literal(
      ["namespace", "layer", "name", "metadata_location", "snapshot_id", "row_count", "size_bytes", "updated_at"]
        .map((column) => `${alias}.${column}`)
        .join(", "),
    )

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

  const change = Effect.fnUntraced(function* (name: RefName, wanted: CatalogChange, fence: bigint | null) {
    const { author, changes, message, runId } = wanted
    const [row] = yield* sql<OutcomeRow>`
      select *
      from catalog_commit_changes(${name}, ${message}, ${author}, ${runId}, ${toChangesJson(changes)}, ${fence})`
    if (row === undefined || row.outcome === "missing") return yield* new RefNotFound({ ref: name })
    if (row.outcome === "conflict") return yield* new CatalogConflict({ ref: name, tables: row.o_tables ?? [] })
    return row.outcome === "held" ? null : toCommit(name, runId, row)
  })
  const commit = Effect.fn("Catalog.commit")((name: RefName, wanted: CatalogChange) =>
    Effect.flatMap(change(name, wanted, null), (done) =>
      done === null
        ? Effect.die(new Error("a commit that asks for no fence was refused by one"))
        : Effect.succeed(done),
    ),
  )
  const commitHeld: Catalog["Service"]["commitHeld"] = Effect.fn("Catalog.commitHeld")(function* (name, wanted) {
    return (yield* change(name, wanted, wanted.fence)) ?? (yield* new BranchHeld({ ref: name }))
  })

  const rebase: Catalog["Service"]["rebase"] = Effect.fn("Catalog.rebase")(function* (branch, change) {
    const { expected, fence = null, key, next, onto } = change
    const [row] = yield* sql<{ done: boolean }>`
      select catalog_rebase(
        ${branch}, ${key.namespace}, ${key.layer}, ${key.name}, ${expected}, ${onto},
        ${next.metadataLocation}, ${next.snapshotId}, ${next.rowCount}, ${next.sizeBytes}, ${fence}
      ) as done`
    return row?.done === true
  })

  const mergeMany = Effect.fn("Catalog.mergeMany")(function* (merges: ReadonlyArray<Merge>) {
    for (const { branch } of merges) yield* refs.refuseMain(branch, "merged into itself")
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

  const merge = Effect.fn("Catalog.merge")(function* (branch: RefName, options: Omit<Merge, "branch">) {
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

  const inNamespace = (alias: string, filter: { readonly namespace?: string } = {}) =>
    filter.namespace === undefined ? "true" : sql`${sql.literal(`${alias}.namespace`)} = ${filter.namespace}`

  const changes: Catalog["Service"]["changes"] = Effect.fn("Catalog.changes")(function* (name) {
    const rows = yield* sql<PointerRow & { readonly is_new: boolean; readonly is_behind: boolean }>`
      select
        ${pointerColumns("o")},
        t.metadata_location is null as is_new,
        not (catalog_sees(r, t.commit_id, t.xid) or coalesce(t.metadata_location = o.rebased_onto, false)) as is_behind
      from catalog_ref r
      join catalog_override o on o.ref_id = r.id
      left join catalog_table t on t.namespace = o.namespace and t.layer = o.layer and t.name = o.name
      where r.name = ${name} and r.id <> 0 and o.metadata_location is distinct from t.metadata_location
      order by o.namespace, o.layer, o.name`
    if (rows.length === 0) yield* requireRef(name)
    return rows.map((row) => ({
      key: toPointer(row).key,
      kind:
        row.metadata_location === null
          ? ("dropped" as const)
          : row.is_new
            ? ("created" as const)
            : ("changed" as const),
      isBehind: row.is_behind === true,
    }))
  })

  const at: Catalog["Service"]["at"] = Effect.fn("Catalog.at")(function* (commitId, filter) {
    const rows = yield* sql<PointerRow>`
      select ${pointerColumns("v")}
      from (
        select distinct on (v.namespace, v.layer, v.name) v.*
        from catalog_version v
        where v.commit_id <= ${commitId} and ${inNamespace("v", filter)}
        order by v.namespace, v.layer, v.name, v.commit_id desc
      ) v
      where v.metadata_location is not null
      order by v.namespace, v.layer, v.name`
    // Asked afterwards: what retention took in between is seen as well.
    const kept = yield* sql`
      select
      from catalog_commit k
      cross join catalog_horizon h
      where k.id = ${commitId} and k.ref_id = 0 and k.committed_at >= h.replaced_before`
    if (kept.length === 0) return yield* new CommitNotFound({ commit: String(commitId) })
    return rows.map(toPointer)
  })

  const dropped: Catalog["Service"]["dropped"] = Effect.fn("Catalog.dropped")(function* (filter = {}) {
    const { ref = "main" } = filter
    const newest = (alias: string, isSeen: ReturnType<typeof sql.literal>) => {
      const column = (name: string) => sql.literal(`${alias}.${name}`)
      return sql`
        select v.metadata_location, v.snapshot_id, v.row_count, v.size_bytes, v.updated_at
        from catalog_version v
        where v.namespace = ${column("namespace")} and v.layer = ${column("layer")} and v.name = ${column("name")}
          and v.metadata_location is not null and ${isSeen}
        order by v.commit_id desc
        limit 1`
    }
    const rows = yield* ref === "main"
      ? sql<PointerRow & { readonly dropped_at: Date }>`
          select t.namespace, t.layer, t.name, t.updated_at as dropped_at, v.*
          from catalog_table t
          cross join lateral (${newest("t", sql.literal("true"))}) v
          where t.metadata_location is null and ${inNamespace("t", filter)}
          order by t.updated_at desc, t.namespace, t.layer, t.name`
      : sql<PointerRow & { readonly dropped_at: Date }>`
          select o.namespace, o.layer, o.name, o.updated_at as dropped_at, v.*
          from catalog_ref r
          join catalog_override o on o.ref_id = r.id
          cross join lateral (
            select p.metadata_location, p.snapshot_id, p.row_count, p.size_bytes, p.updated_at
            from (
              select
                0 as place, o.dropped_location as metadata_location, o.dropped_snapshot_id as snapshot_id,
                o.dropped_row_count as row_count, o.dropped_size_bytes as size_bytes, o.updated_at
              where o.dropped_location is not null
              union all
              select 1, b.*
              from (${newest("o", sql.literal("catalog_sees(r, v.commit_id, v.xid)"))}) b
            ) p
            order by p.place
            limit 1
          ) v
          where r.name = ${ref} and o.metadata_location is null and ${inNamespace("o", filter)}
          order by o.updated_at desc, o.namespace, o.layer, o.name`
    return rows.map((row) => ({ pointer: toPointer(row), droppedAt: DateTime.fromDateUnsafe(row.dropped_at) }))
  })

  return Catalog.of({
    joinsTransactions: true,
    changes,
    at,
    dropped,
    prune: makePostgresRetention(sql).prune,
    createBranch: refs.createBranch,
    holdBranch: refs.holdBranch,
    createTag: refs.createTag,
    deleteRef: refs.deleteRef,
    expireBranch: refs.expireBranch,
    ref: refs.ref,
    refs: refs.refs,
    collectExpired: refs.collectExpired,
    table,
    tables,
    commit,
    commitHeld,
    rebase,
    merge,
    mergeMany,
    history,
  })
})

export const PostgresCatalog = {
  layer: Layer.effect(Catalog, makePostgresCatalog),
}
