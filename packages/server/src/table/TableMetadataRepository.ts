import { NamespaceName, PipelineName, TableMetadata, type TableMetadataUpdate } from "@rat/domain"
import { Context, DateTime, Effect, Layer } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { toJsonb } from "../sql/Jsonb.ts"

type Sql = SqlError.SqlError
type Key = { readonly namespace: string; readonly layer: string; readonly name: string }

/** The only writer of table `table_metadata`: what people wrote about tables. */
export class TableMetadataRepository extends Context.Service<
  TableMetadataRepository,
  {
    /** Null when nobody wrote anything. */
    readonly find: (key: Key) => Effect.Effect<TableMetadata | null, Sql>
    /** All rows of the tables asked for, by `layer.name` within the namespace, keyed by `namespace.layer.name`. */
    readonly forTables: (keys: ReadonlyArray<Key>) => Effect.Effect<ReadonlyMap<string, TableMetadata>, Sql>
    /** Changes the given fields and keeps the others; the map of column descriptions is replaced as a whole. */
    readonly update: (key: Key, change: TableMetadataUpdate) => Effect.Effect<TableMetadata, Sql>
  }
>()("rat/server/table/TableMetadataRepository") {
  static readonly layer = Layer.effect(
    TableMetadataRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const columns = sql.literal(
        "m.id, m.namespace, m.layer, m.name, m.description, m.owner, m.column_descriptions, m.created_at, m.updated_at",
      )

      const forTables = Effect.fn("TableMetadataRepository.forTables")(function* (keys: ReadonlyArray<Key>) {
        if (keys.length === 0) return new Map<string, TableMetadata>()
        const wanted = toJsonb(keys.map(({ namespace, layer, name }) => ({ namespace, layer, name })))
        const rows = yield* sql<Row>`
          select ${columns}
          from jsonb_to_recordset(${wanted}::jsonb) as k (namespace text, layer text, name text)
          join table_metadata as m on m.namespace = k.namespace and m.layer = k.layer and m.name = k.name`
        return new Map(rows.map((row) => [`${row.namespace}.${row.layer}.${row.name}`, tableMetadata(row)]))
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
        return tableMetadata(rows[0]!)
      })

      return TableMetadataRepository.of({
        find: (key) =>
          Effect.map(forTables([key]), (found) => found.get(`${key.namespace}.${key.layer}.${key.name}`) ?? null),
        forTables,
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
