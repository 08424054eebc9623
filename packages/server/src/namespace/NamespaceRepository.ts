import {
  defaultNamespace,
  mainRef,
  Namespace,
  NamespaceExists,
  type NamespaceName,
  NamespaceNotEmpty,
  NamespaceNotFound,
  NamespaceProtected,
} from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { Context, DateTime, Effect, Layer } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { storableText } from "../sql/Jsonb.ts"

type Sql = SqlError.SqlError

interface NamespaceRow {
  readonly name: NamespaceName
  readonly description: string
  readonly created_by: string | null
  readonly created_at: Date
}

const toNamespace = (row: NamespaceRow): Namespace =>
  new Namespace({
    name: row.name,
    description: row.description,
    created_by: row.created_by,
    created_at: DateTime.fromDateUnsafe(row.created_at),
  })

const orderBy = (sort: string | undefined): string => {
  const direction = sort?.startsWith("-") ? "desc" : "asc"
  return sort?.replace(/^-/, "") === "created_at" ? `created_at ${direction}, name` : `name ${direction}`
}

/** The only writer of table `namespace`. Triggers append its events (0014_event.sql). */
export class NamespaceRepository extends Context.Service<
  NamespaceRepository,
  {
    readonly list: (options: {
      readonly limit: number
      readonly offset: number
      readonly sort?: string | undefined
    }) => Effect.Effect<{ readonly namespaces: ReadonlyArray<Namespace>; readonly total: number }, Sql>
    readonly exists: (name: NamespaceName) => Effect.Effect<boolean, Sql>
    readonly create: (name: NamespaceName, description: string) => Effect.Effect<Namespace, NamespaceExists | Sql>
    /** `create`, where an existing one is fine. Joins a surrounding transaction. Answers whether it is new. */
    readonly ensure: (name: NamespaceName) => Effect.Effect<boolean, Sql>
    readonly describe: (name: NamespaceName, description: string) => Effect.Effect<void, NamespaceNotFound | Sql>
    /** Refused while it holds pipelines, landing zones or published tables; the default one always stays. */
    readonly remove: (
      name: NamespaceName,
    ) => Effect.Effect<void, NamespaceNotFound | NamespaceProtected | NamespaceNotEmpty | Sql>
  }
>()("rat/server/namespace/NamespaceRepository") {
  static readonly layer = Layer.effect(
    NamespaceRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const catalog = yield* Catalog
      const outbox = yield* Outbox

      const insert = (name: NamespaceName, description: string) =>
        sql<NamespaceRow>`
          insert into namespace (name, description)
          values (${name}, ${storableText(description)})
          on conflict (name) do nothing
          returning name, description, created_by, created_at`

      const remove = Effect.fn("NamespaceRepository.remove")(function* (name: NamespaceName) {
        if (name === defaultNamespace) return yield* new NamespaceProtected({ namespace: name })
        // Locked: a pipeline that is being made for it waits, and then finds it gone.
        const locked = yield* sql`select 1 from namespace where name = ${name} for update`
        if (locked.length === 0) return yield* new NamespaceNotFound({ namespace: name })
        const [held] = yield* sql<{ readonly pipelines: number; readonly zones: number; readonly views: number }>`
          select
            (select count(*)::integer from pipeline where namespace = ${name} and deleted_at is null) as pipelines,
            (select count(*)::integer from landing_zone where namespace = ${name}) as zones,
            (select count(*)::integer from iceberg_view where namespace = ${name}) as views`
        const tables = yield* catalog
          .tables(mainRef, { namespace: name })
          .pipe(Effect.catchTag("RefNotFound", Effect.die))
        const { pipelines, zones, views } = held!
        if (pipelines + zones + tables.length + views > 0) {
          return yield* new NamespaceNotEmpty({ namespace: name, pipelines, zones, tables: tables.length + views })
        }
        yield* sql`delete from queue_share where namespace = ${name}`
        yield* sql`delete from namespace where name = ${name}`
        yield* outbox.wake
      }, sql.withTransaction)

      return NamespaceRepository.of({
        list: Effect.fn("NamespaceRepository.list")(function* (options) {
          const [rows, totals] = yield* Effect.all(
            [
              sql<NamespaceRow>`
                select name, description, created_by, created_at
                from namespace
                order by ${sql.literal(orderBy(options.sort))}
                limit ${options.limit}
                offset ${options.offset}`,
              sql<{ readonly total: number }>`select count(*)::integer as total from namespace`,
            ],
            { concurrency: 2 },
          )
          return { namespaces: rows.map(toNamespace), total: totals[0]!.total }
        }),
        exists: (name) => Effect.map(sql`select 1 from namespace where name = ${name}`, (rows) => rows.length > 0),
        create: Effect.fn("NamespaceRepository.create")(function* (name, description) {
          const rows = yield* insert(name, description)
          yield* outbox.wake
          if (rows[0] === undefined) return yield* new NamespaceExists({ namespace: name })
          return toNamespace(rows[0])
        }),
        ensure: (name) => Effect.map(Effect.tap(insert(name, ""), outbox.wake), (rows) => rows.length > 0),
        describe: Effect.fn("NamespaceRepository.describe")(function* (name, description) {
          const rows = yield* sql`
            update namespace
            set description = ${storableText(description)}
            where name = ${name}
            returning 1`
          if (rows.length === 0) return yield* new NamespaceNotFound({ namespace: name })
          yield* outbox.wake
        }),
        remove,
      })
    }),
  )
}
