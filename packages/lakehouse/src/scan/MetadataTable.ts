import type { ContentFile } from "../iceberg/DataFile.ts"
import { partitionFields } from "../iceberg/PartitionSpec.ts"
import { decodeSingleValue } from "../iceberg/SingleValue.ts"
import type { TableMetadata } from "../iceberg/TableMetadata.ts"
import { partitionKey } from "./DeleteIndex.ts"
import {
  contents,
  fileColumns,
  fileRows,
  type MetadataSource,
  partitionTexts,
  type Row,
  shown,
} from "./MetadataFiles.ts"
import { quoteName, quoteText } from "./SqlText.ts"

/*
 * What a table knows of itself as tables of their own, `orders$snapshots` and so on, under the names and columns that Spark and
 * Trino have for them. Bounds and partition values are texts, as in Trino. Everything comes from metadata; no data file is read.
 */

interface MetadataTable {
  readonly columns: Readonly<Record<string, string>>
  readonly needs: "metadata" | "manifests" | "entries"
  readonly rows: (source: MetadataSource) => ReadonlyArray<Row>
}

const timestampText = (ms: number): string => new Date(ms).toISOString()

const ancestorsOf = (metadata: TableMetadata): ReadonlySet<bigint> => {
  const byId = new Map(metadata.snapshots.map((snapshot) => [snapshot.snapshotId, snapshot]))
  const ancestors = new Set<bigint>()
  let id = metadata.currentSnapshotId
  while (id !== null && !ancestors.has(id)) {
    ancestors.add(id)
    id = byId.get(id)?.parentSnapshotId ?? null
  }
  return ancestors
}

const statuses = { existing: 0, added: 1, deleted: 2 } as const

const metadataTables: Readonly<Record<string, MetadataTable>> = {
  snapshots: {
    needs: "metadata",
    columns: {
      committed_at: "TIMESTAMPTZ",
      snapshot_id: "BIGINT",
      parent_id: "BIGINT",
      operation: "VARCHAR",
      manifest_list: "VARCHAR",
      summary: "MAP(VARCHAR, VARCHAR)",
    },
    rows: ({ metadata }) =>
      metadata.snapshots.map((snapshot) => ({
        committed_at: timestampText(snapshot.timestampMs),
        snapshot_id: snapshot.snapshotId,
        parent_id: snapshot.parentSnapshotId,
        operation: snapshot.summary.operation,
        manifest_list: snapshot.manifestList,
        summary: snapshot.summary,
      })),
  },
  history: {
    needs: "metadata",
    columns: {
      made_current_at: "TIMESTAMPTZ",
      snapshot_id: "BIGINT",
      parent_id: "BIGINT",
      is_current_ancestor: "BOOLEAN",
    },
    rows: ({ metadata }) => {
      const ancestors = ancestorsOf(metadata)
      return metadata.snapshotLog.map(({ snapshotId, timestampMs }) => ({
        made_current_at: timestampText(timestampMs),
        snapshot_id: snapshotId,
        parent_id: metadata.snapshots.find((snapshot) => snapshot.snapshotId === snapshotId)?.parentSnapshotId,
        is_current_ancestor: ancestors.has(snapshotId),
      }))
    },
  },
  refs: {
    needs: "metadata",
    columns: {
      name: "VARCHAR",
      type: "VARCHAR",
      snapshot_id: "BIGINT",
      max_reference_age_in_ms: "BIGINT",
      min_snapshots_to_keep: "INTEGER",
      max_snapshot_age_in_ms: "BIGINT",
    },
    rows: ({ metadata }) =>
      Object.entries(metadata.refs).map(([name, ref]) => ({
        name,
        type: ref.type.toUpperCase(),
        snapshot_id: ref.snapshotId,
        max_reference_age_in_ms: ref.maxRefAgeMs,
        min_snapshots_to_keep: ref.minSnapshotsToKeep,
        max_snapshot_age_in_ms: ref.maxSnapshotAgeMs,
      })),
  },
  metadata_log_entries: {
    needs: "metadata",
    columns: { timestamp: "TIMESTAMPTZ", file: "VARCHAR" },
    rows: ({ metadata, metadataLocation }) => [
      ...metadata.metadataLog.map(({ metadataFile, timestampMs }) => ({
        timestamp: timestampText(timestampMs),
        file: metadataFile,
      })),
      { timestamp: timestampText(metadata.lastUpdatedMs), file: metadataLocation },
    ],
  },
  properties: {
    needs: "metadata",
    columns: { key: "VARCHAR", value: "VARCHAR" },
    rows: ({ metadata }) => Object.entries(metadata.properties).map(([key, value]) => ({ key, value })),
  },
  manifests: {
    needs: "manifests",
    columns: {
      content: "INTEGER",
      path: "VARCHAR",
      length: "BIGINT",
      partition_spec_id: "INTEGER",
      added_snapshot_id: "BIGINT",
      added_data_files_count: "INTEGER",
      existing_data_files_count: "INTEGER",
      deleted_data_files_count: "INTEGER",
      added_delete_files_count: "INTEGER",
      existing_delete_files_count: "INTEGER",
      deleted_delete_files_count: "INTEGER",
      partition_summaries:
        "STRUCT(contains_null BOOLEAN, contains_nan BOOLEAN, lower_bound VARCHAR, upper_bound VARCHAR)[]",
    },
    rows: ({ manifests, metadata }) =>
      manifests.map((line) => {
        const spec = metadata.partitionSpecs.find(({ specId }) => specId === line.partitionSpecId)
        const fields = spec === undefined ? [] : partitionFields(spec, metadata.schemas, metadata.currentSchemaId)
        const counts = { added: line.addedFiles, existing: line.existingFiles, deleted: line.deletedFiles }
        const countsOf = (kind: "data" | "delete") =>
          Object.fromEntries(
            Object.entries(counts).map(([name, count]) => [
              `${name}_${kind}_files_count`,
              (line.content === "data") === (kind === "data") ? count : 0,
            ]),
          )
        return {
          content: line.content === "data" ? 0 : 1,
          path: line.path,
          length: line.lengthBytes,
          partition_spec_id: line.partitionSpecId,
          added_snapshot_id: line.addedSnapshotId,
          ...countsOf("data"),
          ...countsOf("delete"),
          partition_summaries: (line.partitions ?? []).map((summary, index) => {
            const type = fields[index]?.type
            const text = (bytes: Uint8Array | undefined) =>
              type === undefined || bytes === undefined ? null : shown(type, decodeSingleValue(type, bytes))
            return {
              contains_null: summary.containsNull,
              contains_nan: summary.containsNan ?? null,
              lower_bound: text(summary.lowerBound),
              upper_bound: text(summary.upperBound),
            }
          }),
        }
      }),
  },
  files: { needs: "entries", columns: fileColumns, rows: fileRows },
  data_files: {
    needs: "entries",
    columns: fileColumns,
    rows: (source) => fileRows(source).filter(({ content }) => content === contents.data),
  },
  delete_files: {
    needs: "entries",
    columns: fileColumns,
    rows: (source) => fileRows(source).filter(({ content }) => content !== contents.data),
  },
  entries: {
    needs: "entries",
    columns: {
      status: "INTEGER",
      snapshot_id: "BIGINT",
      sequence_number: "BIGINT",
      file_sequence_number: "BIGINT",
      data_file: `STRUCT(${Object.entries(fileColumns)
        .map(([name, type]) => `${quoteName(name)} ${type}`)
        .join(", ")})`,
    },
    rows: (source) => {
      const files = fileRows(source)
      return source.entries.map((entry, index) => ({
        status: statuses[entry.status],
        snapshot_id: entry.snapshotId,
        sequence_number: entry.sequenceNumber,
        file_sequence_number: entry.fileSequenceNumber,
        data_file: files[index],
      }))
    },
  },
  partitions: {
    needs: "entries",
    columns: {
      partition: "MAP(VARCHAR, VARCHAR)",
      spec_id: "INTEGER",
      record_count: "BIGINT",
      file_count: "BIGINT",
      total_data_file_size_in_bytes: "BIGINT",
      position_delete_record_count: "BIGINT",
      position_delete_file_count: "BIGINT",
      equality_delete_record_count: "BIGINT",
      equality_delete_file_count: "BIGINT",
      last_updated_at: "TIMESTAMPTZ",
      last_updated_snapshot_id: "BIGINT",
    },
    rows: ({ entries, metadata }) => {
      const texts = partitionTexts(metadata)
      const committedAt = new Map(metadata.snapshots.map(({ snapshotId, timestampMs }) => [snapshotId, timestampMs]))
      return Array.from(Map.groupBy(entries, ({ file }) => partitionKey(file)).values(), (members) => {
        const of = (content: ContentFile["content"]) =>
          members.filter(({ file }) => file.content === content).map(({ file }) => file)
        const records = (files: ReadonlyArray<ContentFile>) =>
          files.reduce((sum, { recordCount }) => sum + recordCount, 0)
        const data = of("data")
        const positions = of("position-deletes")
        const equality = of("equality-deletes")
        const newest = members.reduce<readonly [bigint, number] | null>((latest, { snapshotId }) => {
          const at = snapshotId === null ? undefined : committedAt.get(snapshotId)
          return at !== undefined && (latest === null || at > latest[1]) ? [snapshotId!, at] : latest
        }, null)
        return {
          partition: texts(members[0]!.file),
          spec_id: members[0]!.file.specId,
          record_count: records(data),
          file_count: data.length,
          total_data_file_size_in_bytes: data.reduce((sum, { fileSizeBytes }) => sum + fileSizeBytes, 0),
          position_delete_record_count: records(positions),
          position_delete_file_count: positions.length,
          equality_delete_record_count: records(equality),
          equality_delete_file_count: equality.length,
          last_updated_at: newest === null ? null : timestampText(newest[1]),
          last_updated_snapshot_id: newest?.[0],
        }
      })
    },
  },
}

/** Their names, without the `$`. */
export const metadataTableNames: ReadonlyArray<string> = Object.keys(metadataTables)

export const metadataTableNeeds = (name: string): MetadataTable["needs"] | null => metadataTables[name]?.needs ?? null

/** JSON with 64-bit numbers as texts, which the engine reads as what the column is. */
const jsonOf = (value: unknown): string =>
  JSON.stringify(value, (_, item: unknown) => (typeof item === "bigint" ? String(item) : (item ?? null)))

/** The rows of a metadata table as a SQL query. */
export const metadataRelation = (name: string, source: MetadataSource): string => {
  const table = metadataTables[name]!
  const shape = Object.entries(table.columns)
    .map(([column, type]) => `${quoteName(column)} ${type}`)
    .join(", ")
  const rows = table
    .rows(source)
    .map((row) => Object.fromEntries(Object.keys(table.columns).map((column) => [column, row[column] ?? null])))
  // The first cast reads the text as JSON, the second gives it types; structs and maps included.
  return `select unnest(cast(cast(${quoteText(jsonOf(rows))} as json) as struct(${shape})[]), max_depth := 2)`
}
