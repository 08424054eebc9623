import { join } from "node:path"
import {
  type DiffRequest,
  mainRef,
  QueryInvalid,
  QueryRequest,
  QueryTimedOut,
  TableDiff,
  TableNotFound,
} from "@rat/domain"
import {
  Catalog,
  type DataFile,
  fileKey,
  narrowed,
  quoteName,
  quoteText,
  type ScanPlan,
  ScanPlanner,
  type SlotPool,
  scannedFiles,
} from "@rat/lakehouse"
import { Effect, Schema, Stream } from "effect"
import { queryFailure } from "./QueryFailure.ts"
import type { QueryOrder, QueryPiece } from "./QueryPiece.ts"
import { linkFiles, slotFileName } from "./SlotFiles.ts"
import { databaseOf } from "./TableNames.ts"

type State = DiffRequest["a"]

const decodeAnswer = Schema.decodeUnknownEffect(
  Schema.fromJsonString(
    Schema.Array(
      Schema.Struct({
        kind: Schema.Literals(["added", "removed", "changed"]),
        n: Schema.NullOr(Schema.Union([Schema.Int, Schema.FiniteFromString])),
        before: Schema.NullOr(Schema.Record(Schema.String, Schema.Json)),
        after: Schema.NullOr(Schema.Record(Schema.String, Schema.Json)),
      }),
    ),
  ),
)

const planState = Effect.fnUntraced(function* (request: DiffRequest, state: State) {
  const catalog = yield* Catalog
  const planner = yield* ScanPlanner
  const ref = state.ref ?? mainRef
  const pointer = yield* catalog.table(ref, request.table)
  if (pointer === null) return yield* new TableNotFound({ table: String(request.table), ref })
  if (state.snapshot_id === undefined) return yield* planner.plan(pointer.metadataLocation)
  const { metadata } = yield* planner.plan(pointer.metadataLocation)
  const snapshot = metadata.snapshots.find(({ snapshotId }) => snapshotId.toString() === state.snapshot_id)
  if (snapshot === undefined) {
    const reason = `Table ${request.table} has no snapshot ${state.snapshot_id} on ${ref}. It may have expired.`
    return yield* new QueryInvalid({ reason })
  }
  return yield* planner.plan(pointer.metadataLocation, { snapshotId: snapshot.snapshotId })
})

/** A data file together with what is deleted of it: where both sides have it, its rows are the same. */
const contentOf = (plan: ScanPlan): ReadonlyMap<string, DataFile> => {
  const { applied } = scannedFiles(plan)
  return new Map(
    plan.files.map((file) => {
      const deletes = applied.get(file)
      const lists =
        deletes === undefined
          ? []
          : [...deletes.positions, ...deletes.equality, ...(deletes.vector === null ? [] : [deletes.vector])]
      return [[fileKey(file), ...lists.map(fileKey).sort()].join("\n"), file]
    }),
  )
}

const without = (plan: ScanPlan, own: ReadonlyMap<string, DataFile>, other: ReadonlyMap<string, DataFile>) =>
  narrowed(plan, new Set([...own].flatMap(([content, file]) => (other.has(content) ? [] : [file]))))

/** Columns by field id: a renamed column is the same one, and is called as `b` calls it. */
const columnsOf = (a: ScanPlan, b: ScanPlan) => {
  const before = new Map(a.schema.fields.map((field) => [field.id, field.name]))
  const after = new Map(b.schema.fields.map((field) => [field.id, field.name]))
  return {
    common: b.schema.fields.flatMap(({ id, name }) => {
      const old = before.get(id)
      return old === undefined ? [] : [{ id, name, old }]
    }),
    added: b.schema.fields.flatMap(({ id, name }) => (before.has(id) ? [] : [name])),
    removed: a.schema.fields.flatMap(({ id, name }) => (after.has(id) ? [] : [name])),
  }
}

const keyOf = (request: DiffRequest, b: ScanPlan, common: ReturnType<typeof columnsOf>["common"]) => {
  if (request.key === null) {
    const ids = b.schema.identifierFieldIds
    const names = common.flatMap(({ id, name }) => (ids.includes(id) ? [name] : []))
    return Effect.succeed(names.length === ids.length ? names : [])
  }
  const unknown = request.key.filter((name) => !common.some((column) => column.name === name))
  return unknown.length === 0
    ? Effect.succeed(request.key)
    : Effect.fail(
        new QueryInvalid({
          reason: `Column "${unknown.join('", "')}" is not one that both states of ${request.table} have. They have ${common.map(({ name }) => name).join(", ")}.`,
        }),
      )
}

const struct = (columns: ReadonlyArray<{ readonly name: string; readonly of: string }>) =>
  columns.length === 0 ? "0" : `{${columns.map(({ name, of }) => `${quoteText(name)}: ${quoteName(of)}`).join(", ")}}`

/**
 * Rows that only one side has, as many times as it has them more often; of those, rows with one key on both sides have changed.
 * Equal keys are paired in the order of their rows, so that doubled keys count one by one.
 */
const diffSql = (a: string, b: string, hasKey: boolean) => `
create table rat_diff as
with a as (${a}), b as (${b}),
gone as (select k, r, row_number() over (partition by k order by r) as i from (from a except all from b)),
came as (select k, r, row_number() over (partition by k order by r) as i from (from b except all from a))
${
  hasKey
    ? `select
  case when gone.i is null then 'added' when came.i is null then 'removed' else 'changed' end as kind,
  gone.r as before, came.r as after, coalesce(gone.k, came.k) as k
from gone full join came on gone.k is not distinct from came.k and gone.i = came.i`
    : `select 'removed' as kind, r as before, null as after, k from gone
union all
select 'added', null, r, k from came`
}`

const answerSql = (limit: number) => `
select kind, count(*) as n, null as before, null as after from rat_diff group by kind
union all
select kind, null, before, after
from (
  from rat_diff qualify row_number() over (partition by kind order by k, coalesce(after, before)) <= ${limit}
)`

/** Compares two states of a table in a query slot. Files that both have are not read. */
export const diffTable = Effect.fn("QueryRole.diff")(function* (
  pool: SlotPool,
  request: DiffRequest,
  timeoutMs: number,
) {
  const planner = yield* ScanPlanner
  const [a, b] = yield* Effect.all([planState(request, request.a), planState(request, request.b)])
  const { added, common, removed } = columnsOf(a, b)
  const key = yield* keyOf(request, b, common)
  const [before, after] = [contentOf(a), contentOf(b)]
  const [left, right] = [without(a, before, after), without(b, after, before)]
  const facts = {
    a_snapshot_id: a.snapshotId?.toString() ?? null,
    b_snapshot_id: b.snapshotId?.toString() ?? null,
    key,
    columns_added: added,
    columns_removed: removed,
    files_read: left.files.length + right.files.length,
    files_same: b.files.length - right.files.length,
  }
  if (facts.files_read === 0) {
    return new TableDiff({ ...facts, rows_added: 0, rows_removed: 0, rows_changed: 0, sample: [] })
  }
  const question = new QueryRequest({
    sql: answerSql(request.limit),
    namespace: request.table.namespace,
    ref: request.b.ref ?? mainRef,
    format: "objects",
    limit: Number.MAX_SAFE_INTEGER,
    timeoutMs: null,
  })
  const fail = (failure: Parameters<typeof queryFailure>[2]) =>
    queryFailure(question, { sql: question.sql, originalOf: (position) => position }, failure)
  const locations = [...new Set([...left.locations, ...right.locations])]
  const paths = yield* Effect.forEach(
    locations,
    (location) => Effect.map(planner.localPath(location), (path) => [location, path] as const),
    { concurrency: 16 },
  )
  const slot = yield* Effect.catch(pool.acquire, fail)
  yield* linkFiles(slot, new Map(paths))
  const pathOf = (location: string) => join(slot.folder, "in", slotFileName(location))
  const side = (plan: ScanPlan, nameOf: (column: (typeof common)[number]) => string) => {
    const all = common.map((column) => ({ name: column.name, of: nameOf(column) }))
    const keys = all.filter(({ name }) => key.includes(name))
    return `select ${struct(keys)} as k, ${struct(all)} as r from (${plan.relation(pathOf)})`
  }
  const order: QueryOrder = {
    sql: question.sql,
    databases: [databaseOf(request.table.namespace)],
    setup: diffSql(
      side(left, ({ old }) => old),
      side(right, ({ name }) => name),
      key.length > 0,
    ),
    format: "objects",
    limit: question.limit,
  }
  const pieces = yield* slot.stream<ReadonlyArray<QueryPiece>>("query", order).pipe(
    Stream.catch((failure) => Stream.fromEffect(fail(failure))),
    Stream.flatMap((some) => Stream.fromIterable(some)),
    Stream.runCollect,
    Effect.timeoutOrElse({ duration: timeoutMs, orElse: () => Effect.fail(new QueryTimedOut({ timeoutMs })) }),
  )
  const body = Buffer.concat(pieces.flatMap((piece) => (piece.kind === "body" ? [piece.bytes] : [])))
  const rows = yield* Effect.orDie(decodeAnswer(body.toString()))
  const count = (kind: string) => rows.find((row) => row.n !== null && row.kind === kind)?.n ?? 0
  return new TableDiff({
    ...facts,
    rows_added: count("added"),
    rows_removed: count("removed"),
    rows_changed: count("changed"),
    sample: rows.flatMap(({ after, before, kind, n }) => (n === null ? [{ kind, before, after }] : [])),
  })
}, Effect.scoped)
