import { join } from "node:path"
import {
  type DiffRequest,
  didYouMean,
  mainRef,
  QueryInvalid,
  QueryRequest,
  QueryResources,
  QueryTimedOut,
  TableDiff,
  TableNotFound,
} from "@rat/domain"
import {
  Catalog,
  diffSql,
  IcebergTable,
  mergeKeyOf,
  type ScanPlan,
  ScanPlanner,
  type SlotPool,
  snapshotAt,
  type VersionDiff,
  versionDiff,
} from "@rat/lakehouse"
import { DateTime, Effect, Schema, Stream } from "effect"
import { queryFailure } from "./QueryFailure.ts"
import type { QueryOrder, QueryPiece } from "./QueryPiece.ts"
import { linkFiles, slotFileName } from "./SlotFiles.ts"
import { databaseOf } from "./TableNames.ts"

type State = DiffRequest["a"]

/** Bytes of the sample's rows: the whole answer is held in memory. */
const mostSampleBytes = 16 * 2 ** 20

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

const versionOf = (request: DiffRequest, { at, snapshot_id }: State) => {
  if (at !== undefined && snapshot_id !== undefined) {
    return Effect.fail(
      new QueryInvalid({ reason: "A side of a diff is a snapshot or a time, not both. Leave one of them out." }),
    )
  }
  if (at !== undefined) return Effect.succeed({ kind: "timestamp", ms: DateTime.toEpochMillis(at) } as const)
  if (snapshot_id === undefined) return Effect.succeed(null)
  if (/^\d{1,19}$/.test(snapshot_id)) {
    return Effect.succeed({ kind: "snapshot", snapshotId: BigInt(snapshot_id) } as const)
  }
  return Effect.fail(
    new QueryInvalid({
      reason: `"${snapshot_id}" is not the id of a snapshot, which is a number. \`rat tables snapshots ${request.table}\` lists those there are.`,
    }),
  )
}

/** The plan of one side; null when its ref has no such table. */
const planState = Effect.fnUntraced(function* (request: DiffRequest, state: State) {
  const catalog = yield* Catalog
  const planner = yield* ScanPlanner
  const tables = yield* IcebergTable
  const ref = state.ref ?? mainRef
  const wanted = yield* versionOf(request, state)
  const pointer = yield* catalog.table(ref, request.table)
  if (pointer === null) {
    if (wanted === null) return null
    return yield* new TableNotFound({ table: String(request.table), ref })
  }
  if (wanted === null) return yield* planner.plan(pointer.metadataLocation)
  const found = snapshotAt(yield* tables.load(pointer.metadataLocation), wanted)
  if ("snapshotId" in found) return yield* planner.plan(pointer.metadataLocation, { snapshotId: found.snapshotId })
  return yield* new QueryInvalid({ reason: `On ${ref}, table ${request.table} ${found.problem}` })
})

/** Names of the key's columns as the table writes them. */
const keyOf = (request: DiffRequest, { columns }: VersionDiff, there: ScanPlan) => {
  const known = new Map(columns.map(({ name }) => [name.toLowerCase(), name]))
  if (request.key === null) {
    const ids = there.schema.identifierFieldIds
    const wanted =
      ids.length === 0
        ? mergeKeyOf(there.metadata).map((name) => known.get(name.toLowerCase()))
        : ids.map((fieldId) => columns.find(({ id }) => id === fieldId)?.name)
    const names = wanted.filter((name) => name !== undefined)
    return Effect.succeed(names.length === wanted.length ? names : [])
  }
  const unknown = request.key.filter((name) => !known.has(name.toLowerCase()))
  if (unknown.length === 0) {
    return Effect.succeed([...new Set(request.key.map((name) => known.get(name.toLowerCase())!))])
  }
  const names = columns.map(({ name }) => name)
  return Effect.fail(
    new QueryInvalid({
      reason: `Column "${unknown.join('", "')}" is not one that both states of ${request.table} have.${didYouMean(unknown[0]!, names)} They have ${names.join(", ")}.`,
    }),
  )
}

/** Compares two states of a table in a query slot. Metadata says what has to be read for it (`VersionDiff`), which may be nothing. */
export const diffTable = (pool: SlotPool, request: DiffRequest, mostMs: number) => {
  const timeoutMs = Math.min(request.timeoutMs ?? mostMs, mostMs)
  return compareStates(pool, request).pipe(
    Effect.scoped,
    Effect.timeoutOrElse({ duration: timeoutMs, orElse: () => Effect.fail(new QueryTimedOut({ timeoutMs })) }),
    Effect.withSpan("QueryRole.diff"),
  )
}

const compareStates = Effect.fnUntraced(function* (pool: SlotPool, request: DiffRequest) {
  const [a, b] = yield* Effect.all([planState(request, request.a), planState(request, request.b)])
  const there = b ?? a
  if (there === null) {
    return yield* new TableNotFound({ table: String(request.table), ref: request.b.ref ?? mainRef })
  }
  const diff = versionDiff(a, b)
  const facts = {
    a_snapshot_id: a?.snapshotId?.toString() ?? null,
    b_snapshot_id: b?.snapshotId?.toString() ?? null,
    key: yield* keyOf(request, diff, there),
    columns_added: diff.columnsAdded,
    columns_removed: diff.columnsRemoved,
    files_read: diff.readFiles,
    files_same: diff.sameFiles,
  }
  if (diff.before === null && diff.after === null) {
    return new TableDiff({ ...facts, rows_added: 0, rows_removed: 0, rows_changed: 0, sample: [] })
  }
  if (diff.columns.length === 0) {
    return yield* new QueryInvalid({
      reason: `The two states of ${request.table} have no column in common, so their rows cannot be compared. Columns added: ${diff.columnsAdded.join(", ")}; removed: ${diff.columnsRemoved.join(", ")}.`,
    })
  }
  const rows = yield* compareRows(pool, request, diff, facts.key)
  const count = (kind: string) => rows.find((row) => row.n !== null && row.kind === kind)?.n ?? 0
  return new TableDiff({
    ...facts,
    rows_added: count("added"),
    rows_removed: count("removed"),
    rows_changed: count("changed"),
    sample: rows.flatMap(({ after, before, kind, n }) => (n === null ? [{ kind, before, after }] : [])),
  })
})

const compareRows = Effect.fnUntraced(function* (
  pool: SlotPool,
  request: DiffRequest,
  { after, before, columns, locations }: VersionDiff,
  key: ReadonlyArray<string>,
) {
  const planner = yield* ScanPlanner
  const question = new QueryRequest({
    sql: `diff of ${request.table}`,
    namespace: request.table.namespace,
    ref: request.b.ref ?? mainRef,
    format: "objects",
    limit: 0,
    timeoutMs: null,
  })
  // Nobody wrote the text that failed, so no place in it is named.
  const fail = (failure: Parameters<typeof queryFailure>[2]) =>
    queryFailure(question, { sql: question.sql, originalOf: (position) => position }, failure).pipe(
      Effect.catchTag("QueryInvalid", ({ reason }) => Effect.fail(new QueryInvalid({ reason }))),
    )
  const paths = yield* Effect.forEach(
    locations,
    (location) => Effect.map(planner.localPath(location), (path) => [location, path] as const),
    { concurrency: 16 },
  )
  const slot = yield* Effect.catch(pool.acquire, fail)
  yield* linkFiles(slot, new Map(paths))
  const pathOf = (location: string) => join(slot.folder, "in", slotFileName(location))
  const sql = diffSql({
    columns: columns.map(({ name }) => name),
    key,
    before: before?.(pathOf) ?? null,
    after: after?.(pathOf) ?? null,
    limit: request.limit,
  })
  const order: QueryOrder = {
    sql: sql.answer,
    databases: [databaseOf(request.table.namespace)],
    setup: sql.setup,
    format: "objects",
    limit: Number.MAX_SAFE_INTEGER,
  }
  let size = 0
  const bodies = yield* slot.stream<ReadonlyArray<QueryPiece>>("query", order).pipe(
    Stream.catch((failure) => Stream.fromEffect(fail(failure))),
    Stream.flatMap((pieces) => Stream.fromIterable(pieces)),
    Stream.mapEffect((piece) => {
      const bytes = piece.kind === "body" ? piece.bytes : new Uint8Array()
      size += bytes.byteLength
      if (size <= mostSampleBytes) return Effect.succeed(bytes)
      return Effect.fail(
        new QueryResources({
          reason: `The sample of rows is larger than ${mostSampleBytes / 2 ** 20} MiB. Ask for fewer with \`limit\`; 0 counts only.`,
        }),
      )
    }),
    Stream.runCollect,
  )
  return yield* Effect.orDie(decodeAnswer(Buffer.concat(bodies).toString()))
})
