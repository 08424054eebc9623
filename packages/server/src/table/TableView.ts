import {
  Column,
  mainRef,
  type RefName,
  SchemaEntry,
  TableDetail,
  TableInfo,
  TableKey,
  TableNotFound,
} from "@rat/domain"
import { Catalog, duckTypeOf, IcebergTable, type TableMetadata, type TablePointer } from "@rat/lakehouse"
import { Effect } from "effect"
import { TableMetadataRepository, type TableText } from "./TableMetadataRepository.ts"

/** Reads tables as clients see them: catalog pointer, Iceberg metadata and what people wrote, put together. */

type Key = Pick<TableKey, "namespace" | "layer" | "name">

const schemaReads = 8

const infoFields = (pointer: TablePointer, written: TableText | null) => ({
  namespace: pointer.key.namespace,
  layer: pointer.key.layer,
  name: pointer.key.name,
  row_count: pointer.rowCount,
  size_bytes: pointer.sizeBytes,
  ...(written === null || written.description === "" ? {} : { description: written.description }),
  snapshot_id: pointer.snapshotId,
  metadata_location: pointer.metadataLocation,
  updated_at: pointer.updatedAt,
})

/** Current columns of a table, DuckDB's type names, with the descriptions people gave. */
const columnsOf = (metadata: TableMetadata, written: TableText | null): ReadonlyArray<Column> => {
  const schema = metadata.schemas.find((candidate) => candidate.schemaId === metadata.currentSchemaId)
  return (schema?.fields ?? []).map((field) => {
    const description = written?.column_descriptions[field.name] ?? field.doc
    return new Column({
      name: field.name,
      type: duckTypeOf(field.type),
      ...(description === undefined ? {} : { description }),
    })
  })
}

export const makeTableView = Effect.gen(function* () {
  const catalog = yield* Catalog
  const iceberg = yield* IcebergTable
  const written = yield* TableMetadataRepository

  const pointers = (branch: RefName | undefined, filter: { namespace?: string; layer?: string }) =>
    catalog.tables(branch ?? mainRef, filter)

  const textOf = (found: ReadonlyMap<string, TableText>, key: TableKey) => found.get(key.toString()) ?? null

  const list = Effect.fn("TableView.list")(function* (
    branch: RefName | undefined,
    filter: { namespace?: string; layer?: string },
    page: { readonly limit: number; readonly offset: number },
  ) {
    const all = yield* pointers(branch, filter)
    const shown = all.slice(page.offset, page.offset + page.limit)
    const texts = yield* written.texts(shown.map(({ key }) => key))
    return {
      tables: shown.map((pointer) => new TableInfo(infoFields(pointer, textOf(texts, pointer.key)))),
      total: all.length,
    }
  })

  const pointer = Effect.fn("TableView.pointer")(function* (key: Key, branch: RefName | undefined) {
    const ref = branch ?? mainRef
    const tableKey = new TableKey(key)
    const found = yield* catalog.table(ref, tableKey)
    return found ?? (yield* new TableNotFound({ table: tableKey.toString(), ref }))
  })

  const detail = Effect.fn("TableView.detail")(function* (key: Key, branch: RefName | undefined) {
    const found = yield* pointer(key, branch)
    const [metadata, texts] = yield* Effect.all([iceberg.load(found.metadataLocation), written.texts([found.key])], {
      concurrency: 2,
    })
    const text = textOf(texts, found.key)
    const snapshot = metadata.snapshots.find((candidate) => candidate.snapshotId === metadata.currentSnapshotId)
    return new TableDetail({
      ...infoFields(found, text),
      columns: columnsOf(metadata, text),
      ...(text === null || text.owner === null ? {} : { owner: text.owner }),
      file_count: Number(snapshot?.summary["total-data-files"] ?? 0),
      format_version: metadata.formatVersion,
    })
  })

  /** Columns of all tables; metadata files are cached by their immutable location, so only changed ones are read. */
  const schema = Effect.fn("TableView.schema")(function* (
    branch: RefName | undefined,
    filter: { namespace?: string; layer?: string },
  ) {
    const all = yield* pointers(branch, filter)
    const texts = yield* written.texts(all.map(({ key }) => key))
    return yield* Effect.forEach(
      all,
      (each) =>
        Effect.map(
          iceberg.load(each.metadataLocation),
          (metadata) => new SchemaEntry({ ...each.key, columns: columnsOf(metadata, textOf(texts, each.key)) }),
        ),
      { concurrency: schemaReads },
    )
  })

  return { list, pointer, detail, schema }
})
