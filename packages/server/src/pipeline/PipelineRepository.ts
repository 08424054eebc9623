import {
  type Layer as DataLayer,
  type NamespaceName,
  NamespaceNotFound,
  Pipeline,
  type PipelineCreate,
  PipelineExists,
  PipelineId,
  type PipelineName,
  PipelineNotFound,
  type PipelineType,
  type PipelineUpdate,
  pipelineFolder,
} from "@rat/domain"
import { Context, DateTime, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient, type SqlError } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { storableText } from "../sql/Jsonb.ts"

type Sql = SqlError.SqlError

/** What names a live pipeline. */
export interface PipelineAddress {
  readonly namespace: NamespaceName
  readonly layer: DataLayer
  readonly name: PipelineName
}

export interface PipelineListOptions {
  readonly namespace?: NamespaceName | undefined
  readonly layer?: DataLayer | undefined
  /** Part of the name or the description, in any case. */
  readonly search?: string | undefined
  readonly limit: number
  readonly offset: number
  /** `field` or `-field`; unknown fields mean the default, newest first. */
  readonly sort?: string | undefined
}

interface PipelineRow {
  readonly id: PipelineId
  readonly namespace: NamespaceName
  readonly layer: DataLayer
  readonly name: PipelineName
  readonly type: PipelineType
  readonly description: string
  readonly owner: string | null
  readonly created_at: Date
  readonly updated_at: Date
  readonly has_files: boolean
}

/** Versions kept of one pipeline, as the API names it. */
const maxVersions = 50

const columns = `
  p.id, p.namespace, p.layer, p.name, p.type, p.description, p.owner, p.created_at, p.updated_at,
  exists (
    select 1
    from file f
    where f.path >= (p.namespace || '/pipelines/' || p.layer || '/' || p.name || '/') collate "C"
      and f.path < (p.namespace || '/pipelines/' || p.layer || '/' || p.name || '0') collate "C"
  ) as has_files`

const toPipeline = (row: PipelineRow): Pipeline =>
  new Pipeline({
    id: row.id,
    namespace: row.namespace,
    layer: row.layer,
    name: row.name,
    type: row.type,
    s3_path: pipelineFolder(row),
    description: row.description,
    owner: row.owner,
    // Nothing is published yet, so whatever files there are differ from what is published.
    draft_dirty: row.has_files,
    max_versions: maxVersions,
    created_at: DateTime.fromDateUnsafe(row.created_at),
    updated_at: DateTime.fromDateUnsafe(row.updated_at),
  })

/** Fields a list can be sorted by. Values are SQL of this file, never of a request. */
const sortable: Readonly<Record<string, string>> = {
  name: "p.name",
  namespace: "p.namespace",
  layer: "array_position(array['bronze', 'silver', 'gold'], p.layer)",
  type: "p.type",
  owner: "p.owner",
  created_at: "p.created_at",
  updated_at: "p.updated_at",
}

const orderBy = (sort: string | undefined): string => {
  const column = sortable[sort?.replace(/^-/, "") ?? ""]
  if (column === undefined) return "p.created_at desc, p.id desc"
  return `${column} ${sort?.startsWith("-") ? "desc" : "asc"} nulls last, p.namespace, p.layer, p.name, p.id`
}

const likePattern = (text: string): string => `%${storableText(text).replaceAll(/[\\%_]/g, "\\$&")}%`

/**
 * The only writer of table `pipeline`, but for descriptions from code (`PipelineDescription`). Deleting is soft: runs and published tables keep their history, and the name is
 * free again. Each change and its event commit together. Methods join a surrounding transaction.
 */
export class PipelineRepository extends Context.Service<
  PipelineRepository,
  {
    readonly create: (pipeline: PipelineCreate) => Effect.Effect<Pipeline, NamespaceNotFound | PipelineExists | Sql>
    readonly find: (address: PipelineAddress) => Effect.Effect<Pipeline, PipelineNotFound | Sql>
    readonly list: (
      options: PipelineListOptions,
    ) => Effect.Effect<{ readonly pipelines: ReadonlyArray<Pipeline>; readonly total: number }, Sql>
    readonly update: (
      address: PipelineAddress,
      change: PipelineUpdate,
    ) => Effect.Effect<Pipeline, PipelineNotFound | Sql>
    readonly remove: (address: PipelineAddress) => Effect.Effect<PipelineId, PipelineNotFound | Sql>
  }
>()("rat/server/pipeline/PipelineRepository") {
  static readonly layer = Layer.effect(
    PipelineRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const outbox = yield* Outbox

      const announce = (
        type: "pipeline.created" | "pipeline.updated" | "pipeline.deleted",
        id: PipelineId,
        at: PipelineAddress,
      ) =>
        outbox.append([
          {
            key: id,
            type,
            namespace: at.namespace,
            payload: { pipeline_id: id, namespace: at.namespace, layer: at.layer, name: at.name },
          },
        ])

      const create = Effect.fn("PipelineRepository.create")(function* (pipeline: PipelineCreate) {
        const id = PipelineId.make(SecureRandom.uuidV7Unsafe())
        // The namespace's row is locked against deletion by the foreign key; a missing one selects nothing.
        const rows = yield* sql<PipelineRow>`
          with inserted as (
            insert into pipeline (id, namespace, layer, name, type, description)
            select
              ${id}::uuid, n.name, ${pipeline.layer}, ${pipeline.name}, ${pipeline.type ?? "sql"},
              ${storableText(pipeline.description ?? "")}
            from namespace n
            where n.name = ${pipeline.namespace}
            on conflict (namespace, layer, name) where deleted_at is null do nothing
            returning *
          )
          select ${sql.literal(columns)} from inserted p`
        if (rows[0] === undefined) {
          const known = yield* sql`select 1 from namespace where name = ${pipeline.namespace}`
          if (known.length === 0) return yield* new NamespaceNotFound({ namespace: pipeline.namespace })
          return yield* new PipelineExists(keyOf(pipeline))
        }
        yield* announce("pipeline.created", id, pipeline)
        return toPipeline(rows[0])
      }, sql.withTransaction)

      const find = Effect.fn("PipelineRepository.find")(function* (at: PipelineAddress) {
        const rows = yield* sql<PipelineRow>`
          select ${sql.literal(columns)}
          from pipeline p
          where p.namespace = ${at.namespace} and p.layer = ${at.layer} and p.name = ${at.name} and p.deleted_at is null`
        if (rows[0] === undefined) return yield* new PipelineNotFound(keyOf(at))
        return toPipeline(rows[0])
      })

      const list = Effect.fn("PipelineRepository.list")(function* (options: PipelineListOptions) {
        const search = options.search === undefined || options.search === "" ? undefined : likePattern(options.search)
        const where = sql.and([
          sql`p.deleted_at is null`,
          ...(options.namespace === undefined ? [] : [sql`p.namespace = ${options.namespace}`]),
          ...(options.layer === undefined ? [] : [sql`p.layer = ${options.layer}`]),
          ...(search === undefined ? [] : [sql`(p.name ilike ${search} or p.description ilike ${search})`]),
        ])
        const [rows, totals] = yield* Effect.all(
          [
            sql<PipelineRow>`
              select ${sql.literal(columns)}
              from pipeline p
              where ${where}
              order by ${sql.literal(orderBy(options.sort))}
              limit ${options.limit}
              offset ${options.offset}`,
            sql<{ readonly total: number }>`select count(*)::integer as total from pipeline p where ${where}`,
          ],
          { concurrency: 2 },
        )
        return { pipelines: rows.map(toPipeline), total: totals[0]!.total }
      })

      const update = Effect.fn("PipelineRepository.update")(function* (at: PipelineAddress, change: PipelineUpdate) {
        const description = change.description === undefined ? null : storableText(change.description)
        const owner = change.owner == null ? null : storableText(change.owner)
        const rows = yield* sql<PipelineRow>`
          with updated as (
            update pipeline
            set description = coalesce(${description}, description),
                type = coalesce(${change.type ?? null}, type),
                owner = case when ${change.owner !== undefined} then ${owner} else owner end,
                updated_at = now()
            where namespace = ${at.namespace} and layer = ${at.layer} and name = ${at.name} and deleted_at is null
            returning *
          )
          select ${sql.literal(columns)} from updated p`
        if (rows[0] === undefined) return yield* new PipelineNotFound(keyOf(at))
        yield* announce("pipeline.updated", rows[0].id, at)
        return toPipeline(rows[0])
      }, sql.withTransaction)

      const remove = Effect.fn("PipelineRepository.remove")(function* (at: PipelineAddress) {
        const rows = yield* sql<{ readonly id: PipelineId }>`
          update pipeline
          set deleted_at = now(), updated_at = now()
          where namespace = ${at.namespace} and layer = ${at.layer} and name = ${at.name} and deleted_at is null
          returning id`
        if (rows[0] === undefined) return yield* new PipelineNotFound(keyOf(at))
        yield* announce("pipeline.deleted", rows[0].id, at)
        return rows[0].id
      }, sql.withTransaction)

      return PipelineRepository.of({ create, find, list, update, remove })
    }),
  )
}

const keyOf = (at: PipelineAddress) => ({ namespace: at.namespace, layer: at.layer, name: at.name })
