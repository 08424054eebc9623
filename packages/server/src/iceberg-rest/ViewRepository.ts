import { type Layer, mainRef, type NamespaceName, type PipelineName, TableKey } from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { refuse } from "./RestFailure.ts"

interface Row {
  readonly namespace: NamespaceName
  readonly layer: Layer
  readonly name: PipelineName
  readonly metadata_location: string
}

export interface ViewPointer {
  readonly key: TableKey
  readonly metadataLocation: string
}

const toPointer = ({ namespace, layer, name, metadata_location }: Row): ViewPointer => ({
  key: new TableKey({ namespace, layer, name }),
  metadataLocation: metadata_location,
})

/** The only writer of table `iceberg_view`. A name is a table or a view, never both. */
export const makeViewRepository = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const catalog = yield* Catalog

  const find = Effect.fnUntraced(function* ({ namespace, layer, name }: TableKey) {
    const [row] = yield* sql<Row>`
      select namespace, layer, name, metadata_location
      from iceberg_view
      where namespace = ${namespace} and layer = ${layer} and name = ${name}`
    return row === undefined ? null : toPointer(row)
  })

  /** Whoever makes a table or a view of a name holds this until the end of the transaction. */
  const lockName = (key: TableKey) => sql`select pg_advisory_xact_lock(hashtextextended(${`iceberg ${key}`}, 0))`

  const refuseTaken = Effect.fnUntraced(function* (key: TableKey) {
    yield* lockName(key)
    if ((yield* find(key)) !== null) {
      return yield* refuse("AlreadyExistsException", `"${key}" is a view. A table needs another name.`)
    }
  })

  return {
    find,
    refuseTaken,
    list: Effect.fnUntraced(function* (namespace: NamespaceName, layer: Layer) {
      const rows = yield* sql<Row>`
        select namespace, layer, name, metadata_location
        from iceberg_view
        where namespace = ${namespace} and layer = ${layer}
        order by name`
      return rows.map(toPointer)
    }),
    /** Joins the caller's transaction. */
    insert: Effect.fnUntraced(function* (key: TableKey, metadataLocation: string) {
      yield* lockName(key)
      if ((yield* catalog.table(mainRef, key)) !== null) {
        return yield* refuse("AlreadyExistsException", `"${key}" is a table. A view needs another name.`)
      }
      const rows = yield* sql`
        insert into iceberg_view (namespace, layer, name, metadata_location)
        values (${key.namespace}, ${key.layer}, ${key.name}, ${metadataLocation})
        on conflict do nothing
        returning 1`
      if (rows.length === 0) return yield* refuse("AlreadyExistsException", `View "${key}" already exists.`)
    }),
    /** Answers whether the view still stood at `expected`. */
    replace: (key: TableKey, expected: string, next: string) =>
      Effect.map(
        sql`
          update iceberg_view
          set metadata_location = ${next}, updated_at = now()
          where namespace = ${key.namespace} and layer = ${key.layer} and name = ${key.name}
            and metadata_location = ${expected}
          returning 1`,
        (rows) => rows.length > 0,
      ),
    /** Answers whether the view was there. */
    remove: (key: TableKey) =>
      Effect.map(
        sql`
          delete from iceberg_view
          where namespace = ${key.namespace} and layer = ${key.layer} and name = ${key.name}
          returning 1`,
        (rows) => rows.length > 0,
      ),
  }
})

export type ViewRepository = Effect.Success<typeof makeViewRepository>
