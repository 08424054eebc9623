import {
  type MaintenanceId,
  type MaintenanceKind,
  MaintenanceRun,
  type MaintenanceStatus,
  OrphanReport,
  type TableOperation,
  TableReport,
} from "@rat/domain"
import { DateTime, Schema } from "effect"

export interface MaintenanceRow {
  readonly id: MaintenanceId
  readonly kind: MaintenanceKind
  readonly namespace: string | null
  readonly layer: string | null
  readonly name: string | null
  readonly operations: ReadonlyArray<TableOperation>
  readonly trigger: "policy" | "manual"
  readonly status: MaintenanceStatus
  readonly attempt: number
  readonly node: string | null
  readonly created_at: Date
  readonly started_at: Date | null
  readonly finished_at: Date | null
  readonly files_before: bigint | null
  readonly files_after: bigint | null
  readonly rows_before: bigint | null
  readonly rows_after: bigint | null
  readonly bytes_before: bigint | null
  readonly bytes_after: bigint | null
  readonly report: unknown
  readonly error: string | null
}

export const maintenanceColumns = `
  id, kind, namespace, layer, name, operations, trigger, status, attempt, node, created_at, started_at, finished_at,
  files_before, files_after, rows_before, rows_after, bytes_before, bytes_after, report, error`

const tableReport = Schema.decodeUnknownSync(Schema.toCodecJson(TableReport))
const orphanReport = Schema.decodeUnknownSync(Schema.toCodecJson(OrphanReport))

const number = (value: bigint | null) => (value === null ? null : Number(value))
const time = (value: Date | null) => (value === null ? null : DateTime.fromDateUnsafe(value))

export const toMaintenanceRun = (row: MaintenanceRow): MaintenanceRun =>
  new MaintenanceRun({
    id: row.id,
    kind: row.kind,
    table: row.name === null ? null : `${row.namespace}.${row.layer}.${row.name}`,
    operations: row.operations,
    trigger: row.trigger,
    status: row.status,
    attempt: row.attempt,
    node: row.node,
    created_at: DateTime.fromDateUnsafe(row.created_at),
    started_at: time(row.started_at),
    finished_at: time(row.finished_at),
    files_before: number(row.files_before),
    files_after: number(row.files_after),
    rows_before: number(row.rows_before),
    rows_after: number(row.rows_after),
    bytes_before: number(row.bytes_before),
    bytes_after: number(row.bytes_after),
    table_report: row.kind === "table" && row.report !== null ? tableReport(row.report) : null,
    orphan_report: row.kind === "orphans" && row.report !== null ? orphanReport(row.report) : null,
    error: row.error,
  })
