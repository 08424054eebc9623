import { Schema } from "effect"
import { NamespaceName } from "../namespace/Namespace.ts"
import { Layer, PipelineName } from "../pipeline/Pipeline.ts"
import { MaintenancePolicy } from "./MaintenancePolicy.ts"

/** UUIDv7: sorts by creation time. */
export const MaintenanceId = Schema.String.check(Schema.isUUID(7)).pipe(Schema.brand("MaintenanceId"))
export type MaintenanceId = typeof MaintenanceId.Type

/**
 * What is done to a table, in this order: `compact` rewrites data files (small ones together, deletes merged away, old
 * partition specs into the current one), `manifests` clusters manifests, `expire` drops old snapshots, schemas and specs.
 */
export const TableOperation = Schema.Literals(["compact", "manifests", "expire"])
export type TableOperation = typeof TableOperation.Type
export const tableOperations: ReadonlyArray<TableOperation> = TableOperation.literals

/** `table`: operations on one table. `orphans`: objects of the store that nothing points to go. */
export const MaintenanceKind = Schema.Literals(["table", "orphans"])
export type MaintenanceKind = typeof MaintenanceKind.Type

export const MaintenanceStatus = Schema.Literals(["queued", "running", "succeeded", "failed"])
export type MaintenanceStatus = typeof MaintenanceStatus.Type

/** The live files of a table at a moment; metadata counts manifests and snapshots. */
export class TableSize extends Schema.Class<TableSize>("rat/domain/TableSize")({
  data_files: Schema.Int,
  delete_files: Schema.Int,
  /** Rows of data files, without regard to deletes. */
  rows: Schema.Int,
  /** Data and delete files. */
  size_bytes: Schema.Int,
  manifests: Schema.Int,
  snapshots: Schema.Int,
}) {}

/** What one operation did, or would do. */
export class OperationReport extends Schema.Class<OperationReport>("rat/domain/OperationReport")({
  operation: TableOperation,
  /** Groups of files (compact), or commits of the others; 0 when there was nothing to do. */
  groups: Schema.Int,
  /** Groups that another writer got in the way of; the next run takes them. */
  skipped: Schema.Int,
  files_before: Schema.Int,
  files_after: Schema.Int,
  bytes_before: Schema.Int,
  bytes_after: Schema.Int,
  snapshots_removed: Schema.Int,
  /** Why it was not worth it, or what stood in the way; sentences. */
  notes: Schema.Array(Schema.String),
}) {}

/** Before and after of one table. In a dry run `after` is null and the operations say what they would read. */
export class TableReport extends Schema.Class<TableReport>("rat/domain/TableReport")({
  namespace: NamespaceName,
  layer: Layer,
  name: PipelineName,
  policy: MaintenancePolicy,
  before: TableSize,
  after: Schema.NullOr(TableSize),
  operations: Schema.Array(OperationReport),
}) {}

/** Bytes that nothing points to below one place of the store: a table, a landing zone, or another folder. */
export class OrphanPlace extends Schema.Class<OrphanPlace>("rat/domain/OrphanPlace")({
  place: Schema.String,
  objects: Schema.Int,
  size_bytes: Schema.Int,
}) {}

export class OrphanReport extends Schema.Class<OrphanReport>("rat/domain/OrphanReport")({
  /** Objects of the store that were looked at, and those that something points to. */
  objects: Schema.Int,
  live_objects: Schema.Int,
  /** Unreachable but too young, or not known as unreachable for long enough. */
  waiting_objects: Schema.Int,
  waiting_bytes: Schema.Int,
  /** Removed, or in a dry run: would be removed. */
  removed_objects: Schema.Int,
  removed_bytes: Schema.Int,
  places: Schema.Array(OrphanPlace),
  /** Tables whose metadata cannot be read: nothing in their folders was touched. */
  unreadable: Schema.Array(Schema.String),
}) {}

/** A run of maintenance as clients see it. */
export class MaintenanceRun extends Schema.Class<MaintenanceRun>("rat/domain/MaintenanceRun")({
  id: MaintenanceId,
  kind: MaintenanceKind,
  /** `namespace.layer.name`; null for orphans. */
  table: Schema.NullOr(Schema.String),
  operations: Schema.Array(TableOperation),
  trigger: Schema.Literals(["policy", "manual"]),
  status: MaintenanceStatus,
  attempt: Schema.Int,
  node: Schema.NullOr(Schema.String),
  created_at: Schema.DateTimeUtcFromDate,
  started_at: Schema.NullOr(Schema.DateTimeUtcFromDate),
  finished_at: Schema.NullOr(Schema.DateTimeUtcFromDate),
  files_before: Schema.NullOr(Schema.Int),
  files_after: Schema.NullOr(Schema.Int),
  rows_before: Schema.NullOr(Schema.Int),
  rows_after: Schema.NullOr(Schema.Int),
  bytes_before: Schema.NullOr(Schema.Int),
  bytes_after: Schema.NullOr(Schema.Int),
  table_report: Schema.NullOr(TableReport),
  orphan_report: Schema.NullOr(OrphanReport),
  error: Schema.NullOr(Schema.String),
}) {}

export class MaintenanceNotFound extends Schema.TaggedError<MaintenanceNotFound>()(
  "MaintenanceNotFound",
  { id: Schema.String },
  { httpApiStatus: 404 },
) {
  override get message() {
    return `There is no maintenance run "${this.id}". \`rat maintenance ls\` lists them.`
  }
}

/** The table is being looked after already. */
export class MaintenanceBusy extends Schema.TaggedError<MaintenanceBusy>()(
  "MaintenanceBusy",
  { what: Schema.String, id: Schema.String },
  { httpApiStatus: 409 },
) {
  override get message() {
    return `Maintenance of ${this.what} is under way (${this.id}). Wait for its end.`
  }
}

/** An operation of maintenance broke off. The table is as it was, or as groups that were done before left it. */
export class MaintenanceFailed extends Schema.TaggedError<MaintenanceFailed>()("MaintenanceFailed", {
  /** `table.missing`, `table.corrupt`, `limit.memory`, `limit.disk`, `store.unavailable`, `catalog.unavailable`, `sql.error`. */
  code: Schema.String,
  reason: Schema.String,
}) {
  override get message() {
    return this.reason
  }
}

/** Which objects are needed cannot be told from here: the catalog is another server's, with refs of its own. */
export class OrphansUnsupported extends Schema.TaggedError<OrphansUnsupported>()(
  "OrphansUnsupported",
  { reason: Schema.String },
  { httpApiStatus: 409 },
) {
  override get message() {
    return `Orphans cannot be removed: ${this.reason}.`
  }
}
