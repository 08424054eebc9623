import { Schema } from "effect"
import { Rpc, RpcGroup } from "effect/rpc"
import { RefName, RefNotFound } from "../branch/Ref.ts"
import { NamespaceName } from "../namespace/Namespace.ts"
import { SlotHealth } from "../slot/SlotHealth.ts"
import { Column, TableKey, TableNotFound } from "../table/Table.ts"
import { TableDiff, TableState } from "../table/TableDiff.ts"

/** `objects`: rows as objects (the ancestor's). `arrays`: rows as arrays, which keeps duplicate column names. */
export const ResultFormat = Schema.Literals(["objects", "arrays", "csv", "parquet", "arrow"])
export type ResultFormat = typeof ResultFormat.Type

/** The SQL is wrong or not allowed; the person can mend it. */
export class QueryInvalid extends Schema.TaggedError<QueryInvalid>()(
  "QueryInvalid",
  {
    /** DuckDB's own message. */
    reason: Schema.String,
    /** 1-based place in the text that was sent, when DuckDB names one. */
    line: Schema.optional(Schema.Int),
    column: Schema.optional(Schema.Int),
    /** 0-based offset in characters. */
    position: Schema.optional(Schema.Int),
  },
  { httpApiStatus: 400 },
) {
  override get message() {
    return this.line === undefined ? this.reason : `${this.reason} (line ${this.line}, column ${this.column})`
  }
}

/** Not a question of wording: this statement, function or file is not for ad-hoc SQL. */
export class QueryForbidden extends Schema.TaggedError<QueryForbidden>()(
  "QueryForbidden",
  { reason: Schema.String },
  { httpApiStatus: 403 },
) {
  override get message() {
    return this.reason
  }
}

export class QueryTimedOut extends Schema.TaggedError<QueryTimedOut>()(
  "QueryTimedOut",
  { timeoutMs: Schema.Int },
  { httpApiStatus: 504 },
) {
  override get message() {
    return `The query was stopped after ${this.timeoutMs / 1000} s, its time limit. Ask for less, or raise \`timeout_ms\` (RAT_QUERY_TIMEOUT_MS is the most).`
  }
}

/** Ran out of memory or spill space, or its slot died; no other query was touched. */
export class QueryResources extends Schema.TaggedError<QueryResources>()(
  "QueryResources",
  { reason: Schema.String },
  { httpApiStatus: 400 },
) {
  override get message() {
    return this.reason
  }
}

/** All query slots are taken and the waiting line is full. */
export class QueryBusy extends Schema.TaggedError<QueryBusy>()(
  "QueryBusy",
  { retryAfterSeconds: Schema.Int },
  { httpApiStatus: 429 },
) {
  override get message() {
    return `Too many queries are waiting. Try again in ${this.retryAfterSeconds} s.`
  }
}

/** The object store or the database that the tables are in does not answer; nothing is wrong with the query. */
export class QueryUnavailable extends Schema.TaggedError<QueryUnavailable>()(
  "QueryUnavailable",
  { reason: Schema.String },
  { httpApiStatus: 503 },
) {
  override get message() {
    return this.reason
  }
}

export const QueryError = Schema.Union([
  QueryInvalid,
  QueryForbidden,
  QueryTimedOut,
  QueryResources,
  QueryBusy,
  QueryUnavailable,
  RefNotFound,
  TableNotFound,
])
export type QueryError = typeof QueryError.Type

/** First element of an answer. */
export class QueryHead extends Schema.TaggedClass<QueryHead>("rat/domain/QueryHead")("Head", {
  columns: Schema.Array(Column),
  contentType: Schema.String,
}) {}

/**
 * A piece of the body, already in the format that was asked for. The pieces of `objects` and `arrays`, put together,
 * are the JSON array of the rows, brackets included, which the API role sends on without looking into it.
 */
export class QueryBody extends Schema.TaggedClass<QueryBody>("rat/domain/QueryBody")("Body", {
  bytes: Schema.Uint8Array,
}) {}

/** Last element of an answer. */
export class QueryTail extends Schema.TaggedClass<QueryTail>("rat/domain/QueryTail")("Tail", {
  rows: Schema.Int,
  /** Whether the limit cut the result. */
  truncated: Schema.Boolean,
}) {}

export class QueryRequest extends Schema.Class<QueryRequest>("rat/domain/QueryRequest")({
  sql: Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(100_000)),
  /**
   * The only namespace whose tables may be read. Null (clients of the ancestor): two-part names are those of
   * `default`, three-part names may name any namespace.
   */
  namespace: Schema.NullOr(NamespaceName),
  /** Branch or tag to read. */
  ref: RefName,
  format: ResultFormat,
  /** Most rows of the answer. */
  limit: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
  /** Null takes the server's limit, which is also the most. */
  timeoutMs: Schema.NullOr(Schema.Int),
}) {}

export class DiffRequest extends Schema.Class<DiffRequest>("rat/domain/DiffRequest")({
  table: TableKey,
  a: TableState,
  b: TableState,
  /** Null: the identifier fields of `b`, or the merge key of its last run. Empty: whole rows. */
  key: Schema.NullOr(Schema.Array(Schema.String)),
  /** Most rows of each kind in the sample. */
  limit: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
  /** Absent takes the server's limit, which is also the most. */
  timeoutMs: Schema.optional(Schema.Int),
}) {}

/** What the API role asks of the query role. Ending the stream early cancels the statement. */
export class QueryRpc extends RpcGroup.make(
  Rpc.make("Query", {
    payload: QueryRequest,
    success: Schema.Union([QueryHead, QueryBody, QueryTail]),
    error: QueryError,
    stream: true,
  }),
  /** Columns of a table, in DuckDB's type names. */
  Rpc.make("Describe", {
    payload: { table: TableKey, ref: RefName },
    success: Schema.Array(Column),
    error: Schema.Union([TableNotFound, RefNotFound, QueryUnavailable]),
  }),
  /** Compares two states of a table; only files that differ are read. */
  Rpc.make("Diff", {
    payload: DiffRequest,
    success: TableDiff,
    error: QueryError,
  }),
  /** Answers when the role works; its slots as they are now. */
  Rpc.make("Health", { success: SlotHealth }),
) {}
