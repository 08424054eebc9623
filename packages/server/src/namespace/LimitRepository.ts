import {
  type Layer as DataLayer,
  type LimitsChange,
  limitNames,
  NamespaceLimits,
  type NamespaceName,
  NamespaceNotFound,
  OwnLimits,
  PipelineLimit,
  type PipelineName,
  PipelineNotFound,
} from "@rat/domain"
import { Context, Effect, Layer } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { RunHub } from "../run/RunHub.ts"
import { RunSettings } from "../run/RunSettings.ts"

type Sql = SqlError.SqlError

interface LimitRow {
  readonly weight: number | null
  readonly max_pending: number | null
  readonly max_pending_per_pipeline: number | null
  readonly max_running: number | null
}

/** The only writer of tables `namespace_limit` and `pipeline_limit`: what differs from the settings. Submits and claims read them. */
export class LimitRepository extends Context.Service<
  LimitRepository,
  {
    readonly find: (namespace: NamespaceName) => Effect.Effect<NamespaceLimits, NamespaceNotFound | Sql>
    /** Holds for the next submission and the next claim; runs that are pending or running already stay. */
    readonly set: (
      namespace: NamespaceName,
      change: LimitsChange,
    ) => Effect.Effect<NamespaceLimits, NamespaceNotFound | Sql>
    /** Null takes the pipeline's own limit away. */
    readonly setPipeline: (
      pipeline: { readonly namespace: NamespaceName; readonly layer: DataLayer; readonly name: PipelineName },
      maxPending: number | null,
    ) => Effect.Effect<NamespaceLimits, NamespaceNotFound | PipelineNotFound | Sql>
  }
>()("rat/server/namespace/LimitRepository") {
  static readonly layer = Layer.effect(
    LimitRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const settings = yield* RunSettings
      const hub = yield* RunHub

      const find = Effect.fn("LimitRepository.find")(function* (namespace: NamespaceName) {
        const [rows, pipelines] = yield* Effect.all(
          [
            sql<LimitRow>`
              select l.weight, l.max_pending, l.max_pending_per_pipeline, l.max_running
              from namespace n
              left join namespace_limit l on l.namespace = n.name
              where n.name = ${namespace}`,
            sql<{ readonly pipeline: string; readonly max_pending: number }>`
              select p.layer || '.' || p.name as pipeline, l.max_pending
              from pipeline_limit l
              join pipeline p on p.id = l.pipeline_id
              where p.namespace = ${namespace} and p.deleted_at is null
              order by pipeline`,
          ],
          { concurrency: 2 },
        )
        const own = rows[0]
        if (own === undefined) return yield* new NamespaceNotFound({ namespace })
        return new NamespaceLimits({
          namespace,
          weight: own.weight ?? 1,
          max_pending: own.max_pending ?? settings.maxPendingPerNamespace,
          max_pending_per_pipeline: own.max_pending_per_pipeline ?? settings.maxPendingPerPipeline,
          max_running: own.max_running ?? settings.maxRunningPerNamespace,
          own: new OwnLimits(own),
          pipelines: pipelines.map((row) => new PipelineLimit(row)),
        })
      })

      /** More may start now than before. */
      const told = <A, E>(change: Effect.Effect<A, E>) => Effect.tap(change, () => hub.wake)

      return LimitRepository.of({
        find,
        set: (namespace, change) =>
          told(
            Effect.gen(function* () {
              // Locked against deletion by the foreign key; a missing namespace selects nothing.
              const isGiven = (name: (typeof limitNames)[number]) => change[name] !== undefined
              const rows = yield* sql`
                insert into namespace_limit as l (namespace, ${sql.literal(limitNames.join(", "))})
                select
                  n.name, ${change.weight ?? null}::float8, ${change.max_pending ?? null}::integer,
                  ${change.max_pending_per_pipeline ?? null}::integer, ${change.max_running ?? null}::integer
                from namespace n
                where n.name = ${namespace}
                on conflict (namespace) do update
                set namespace = excluded.namespace ${sql.literal(
                  limitNames
                    .filter(isGiven)
                    .map((name) => `, ${name} = excluded.${name}`)
                    .join(""),
                )}
                returning 1`
              if (rows.length === 0) return yield* new NamespaceNotFound({ namespace })
              return yield* find(namespace)
            }),
          ).pipe(Effect.withSpan("LimitRepository.set")),
        setPipeline: ({ namespace, layer, name }, maxPending) =>
          told(
            Effect.gen(function* () {
              const rows = yield* sql<{ readonly id: string }>`
                select id
                from pipeline
                where namespace = ${namespace} and layer = ${layer} and name = ${name} and deleted_at is null`
              const id = rows[0]?.id
              if (id === undefined) return yield* new PipelineNotFound({ namespace, layer, name })
              yield* maxPending === null
                ? sql`delete from pipeline_limit where pipeline_id = ${id}`
                : sql`
                    insert into pipeline_limit (pipeline_id, max_pending)
                    values (${id}, ${maxPending})
                    on conflict (pipeline_id) do update
                    set max_pending = excluded.max_pending`
              return yield* find(namespace)
            }),
          ).pipe(Effect.withSpan("LimitRepository.setPipeline")),
      })
    }),
  )
}
