import { NamespaceName, PipelineName, TableMetadata, type TableMetadataUpdate } from "@rat/domain"
import { Context, DateTime, Effect, Layer } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { toJsonb } from "../sql/Jsonb.ts"

type Sql = SqlError.SqlError
type Key = { readonly namespace: string; readonly layer: string; readonly name: string }

/** What people read of a table: what was written about it, or else about its pipeline. */
export interface TableText {
  readonly description: string
  readonly owner: string | null
  readonly column_descriptions: Readonly<Record<string, string>>
}

/** The only writer of table `table_metadata`: what people wrote about tables. A trigger appends its events. */
export class TableMetadataRepository extends Context.Service<
  TableMetadataRepository,
  {
    /** Null when nobody wrote anything. */
    readonly find: (key: Key) => Effect.Effect<TableMetadata | null, Sql>
    /** What there is to say of these tables, keyed by `namespace.layer.name`. */
    readonly texts: (keys: ReadonlyArray<Key>) => Effect.Effect<ReadonlyMap<string, TableText>, Sql>
    /** Changes the given fields and keeps the others; the map of column descriptions is replaced as a whole. */
    readonly update: (key: Key, change: TableMetadataUpdate) => Effect.Effect<TableMetadata, Sql>
  }
>()("rat/server/table/TableMetadataRepository") {
  static readonly layer = Layer.effect(
    TableMetadataRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const outbox = yield* Outbox
      const columns = sql.literal(
        "m.id, m.namespace, m.layer, m.name, m.description, m.owner, m.column_descriptions, m.created_at, m.updated_at",
      )

      const find = Effect.fn("TableMetadataRepository.find")(function* ({ namespace, layer, name }: Key) {
        const rows = yield* sql<Row>`
          select ${columns}
          from table_metadata m
          where m.namespace = ${namespace} and m.layer = ${layer} and m.name = ${name}`
        return rows[0] === undefined ? null : tableMetadata(rows[0])
      })

      const texts = Effect.fn("TableMetadataRepository.texts")(function* (keys: ReadonlyArray<Key>) {
        if (keys.length === 0) return new Map<string, TableText>()
        const wanted = toJsonb(keys.map(({ namespace, layer, name }) => ({ namespace, layer, name })))
        const rows = yield* sql<TableText & { readonly table: string }>`
          select
            k.namespace || '.' || k.layer || '.' || k.name as table,
            coalesce(nullif(m.description, ''), p.description, '') as description,
            m.owner,
            coalesce(m.column_descriptions, '{}') as column_descriptions
          from jsonb_to_recordset(${wanted}::jsonb) as k (namespace text, layer text, name text)
          left join table_metadata m on m.namespace = k.namespace and m.layer = k.layer and m.name = k.name
          left join pipeline p
            on p.namespace = k.namespace and p.layer = k.layer and p.name = k.name and p.deleted_at is null
          where m.id is not null or p.description <> ''`
        return new Map(rows.map(({ table, ...text }) => [table, text]))
      })

      const update = Effect.fn("TableMetadataRepository.update")(function* (key: Key, change: TableMetadataUpdate) {
        const description = change.description ?? null
        const owner = change.owner ?? null
        const descriptions = change.column_descriptions === undefined ? null : toJsonb(change.column_descriptions)
        const rows = yield* sql<Row>`
          insert into table_metadata as m (namespace, layer, name, description, owner, column_descriptions)
          values (${key.namespace}, ${key.layer}, ${key.name}, coalesce(${description}::text, ''), ${owner}::text,
            coalesce(${descriptions}::jsonb, '{}'))
          on conflict (namespace, layer, name) do update
          set description = coalesce(${description}::text, m.description),
              owner = coalesce(${owner}::text, m.owner),
              column_descriptions = coalesce(${descriptions}::jsonb, m.column_descriptions),
              updated_at = now()
          returning ${columns}`
        yield* outbox.wake
        return tableMetadata(rows[0]!)
      })

      return TableMetadataRepository.of({
        find,
        texts,
        update,
      })
    }),
  )
}

interface Row {
  readonly id: string
  readonly namespace: string
  readonly layer: TableMetadata["layer"]
  readonly name: string
  readonly description: string
  readonly owner: string | null
  readonly column_descriptions: Readonly<Record<string, string>>
  readonly created_at: Date
  readonly updated_at: Date
}

const tableMetadata = (row: Row): TableMetadata =>
  new TableMetadata({
    id: row.id,
    namespace: NamespaceName.make(row.namespace),
    layer: row.layer,
    name: PipelineName.make(row.name),
    description: row.description,
    ...(row.owner === null ? {} : { owner: row.owner }),
    column_descriptions: row.column_descriptions,
    created_at: DateTime.fromDateUnsafe(row.created_at),
    updated_at: DateTime.fromDateUnsafe(row.updated_at),
  })
