import { CommitId, RefName, TableKey } from "@rat/domain"
import { DateTime } from "effect"
import type { Commit, RefState, TableChange, TablePointer } from "./Catalog.ts"

/** Rows of the catalog's tables and functions, and what they mean outside of SQL. */

export interface RefRow {
  readonly name: string
  readonly kind: "branch" | "tag"
  readonly run_id: string | null
  readonly head: bigint | null
  readonly base_commit: bigint | null
  readonly created_at: Date
  readonly expires_at: Date | null
}

export interface PointerRow {
  readonly namespace: string
  readonly layer: string
  readonly name: string
  readonly metadata_location: string | null
  readonly snapshot_id: string | null
  readonly row_count: bigint
  readonly size_bytes: bigint
  readonly updated_at: Date
}

export interface CommitRow {
  readonly id: bigint
  readonly is_main: boolean
  readonly parent: bigint | null
  readonly message: string
  readonly author: string
  readonly run_id: string | null
  readonly committed_at: Date
  readonly tables: ReadonlyArray<string>
}

export interface OutcomeRow {
  readonly outcome: "committed" | "merged" | "empty" | "missing" | "conflict" | "held"
  readonly o_branch: string
  readonly o_id: bigint | null
  readonly o_parent: bigint | null
  readonly o_at: Date | null
  readonly o_message: string
  readonly o_author: string
  readonly o_run_id: string | null
  readonly o_tables: ReadonlyArray<string> | null
}

export const toCommitId = (id: bigint | null) => (id === null ? null : CommitId.make(id))

export const toRef = (row: RefRow): RefState => ({
  name: RefName.make(row.name),
  kind: row.kind,
  head: toCommitId(row.head),
  base: toCommitId(row.base_commit),
  runId: row.run_id,
  createdAt: DateTime.fromDateUnsafe(row.created_at),
  expiresAt: row.expires_at === null ? null : DateTime.fromDateUnsafe(row.expires_at),
})

export const toPointer = (row: PointerRow): TablePointer => ({
  // Keys were checked when they were written.
  key: new TableKey(row as never, { disableChecks: true }),
  metadataLocation: row.metadata_location as string,
  snapshotId: row.snapshot_id,
  rowCount: Number(row.row_count),
  sizeBytes: Number(row.size_bytes),
  updatedAt: DateTime.fromDateUnsafe(row.updated_at),
})

export const toCommit = (ref: string, runId: string | null, row: OutcomeRow): Commit => ({
  id: CommitId.make(row.o_id as bigint),
  ref,
  parent: toCommitId(row.o_parent),
  message: row.o_message,
  author: row.o_author,
  runId,
  committedAt: DateTime.fromDateUnsafe(row.o_at as Date),
  tables: row.o_tables ?? [],
})

export const toChangesJson = (changes: ReadonlyArray<TableChange>) =>
  JSON.stringify(
    changes.map(({ key, expected, next }) => ({
      namespace: key.namespace,
      layer: key.layer,
      name: key.name,
      expected,
      metadata_location: next?.metadataLocation ?? null,
      snapshot_id: next?.snapshotId ?? null,
      row_count: next?.rowCount ?? 0,
      size_bytes: next?.sizeBytes ?? 0,
    })),
  )
