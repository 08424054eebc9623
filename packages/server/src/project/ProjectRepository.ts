import { type NamespaceName, PipelineCreate, PipelineName, PushAnswer } from "@rat/domain"
import type { StoreUnavailable } from "@rat/lakehouse"
import { Context, Effect, Layer } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { FileRepository, hashOf } from "../file/FileRepository.ts"
import { LandingRepository } from "../landing/LandingRepository.ts"
import { NamespaceRepository } from "../namespace/NamespaceRepository.ts"
import { PipelineRepository } from "../pipeline/PipelineRepository.ts"
import type { ProjectPush } from "./ProjectPush.ts"

type Sql = SqlError.SqlError

export interface PushOptions {
  /** Delete files of the pushed pipelines that are not in the push. */
  readonly prune: boolean
  /** Say what would happen, and do nothing. */
  readonly dryRun: boolean
}

/** Blobs written at the same time; each is a small file. */
const storeConcurrency = 8

/**
 * Brings a whole project to the server. Blobs go first: without rows nobody sees them. Then everything that a reader
 * can see changes in one transaction, so a run that starts meanwhile takes the old code or the new, never a mixture.
 */
export class ProjectRepository extends Context.Service<
  ProjectRepository,
  {
    readonly push: (
      namespace: NamespaceName,
      push: ProjectPush,
      options: PushOptions,
    ) => Effect.Effect<PushAnswer, StoreUnavailable | Sql>
  }
>()("rat/server/project/ProjectRepository") {
  static readonly layer = Layer.effect(
    ProjectRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const files = yield* FileRepository
      const landing = yield* LandingRepository
      const namespaces = yield* NamespaceRepository
      const pipelines = yield* PipelineRepository

      /** `layer.name` of the pipelines and names of the zones that are there. */
      const present = Effect.fn("ProjectRepository.present")(function* (namespace: NamespaceName) {
        const rows = yield* sql<{ kind: "pipeline" | "zone"; name: string }>`
          select 'pipeline' as kind, layer || '.' || name as name
          from pipeline
          where namespace = ${namespace} and deleted_at is null
          union all
          select 'zone' as kind, name
          from landing_zone
          where namespace = ${namespace}`
        const names = (kind: string) => new Set(rows.filter((row) => row.kind === kind).map((row) => row.name))
        return { pipelines: names("pipeline"), zones: names("zone") }
      })

      const push = Effect.fn("ProjectRepository.push")(function* (
        namespace: NamespaceName,
        { files: pushed, pipelines: targets, zones }: ProjectPush,
        options: PushOptions,
      ) {
        const inside = (path: string) => path.slice(namespace.length + 1)
        const current = new Map(
          (yield* files.list(`${namespace}/pipelines/`)).map((file) => [file.path, file.hash] as const),
        )
        const there = yield* present(namespace)
        const hashed = pushed.map((file) => ({ ...file, bytes: Buffer.from(file.content, "utf8") }))
        const [unchanged, changed] = partition(hashed, (file) => current.get(file.fullPath) === hashOf(file.bytes))
        const folders = targets.map(({ layer, name }) => `${namespace}/pipelines/${layer}/${name}/`)
        const kept = new Set<string>(pushed.map((file) => file.fullPath))
        const stale = options.prune
          ? [...current.keys()].filter((path) => !kept.has(path) && folders.some((folder) => path.startsWith(folder)))
          : []
        const missing = targets.filter(({ layer, name }) => !there.pipelines.has(`${layer}.${name}`))
        const answer = new PushAnswer({
          written: changed.map((file) => file.path).sort(),
          unchanged: unchanged.map((file) => file.path).sort(),
          deleted: stale.map(inside).sort(),
          pipelines_created: missing.map(({ layer, name }) => `${layer}.${name}`).sort(),
          zones_created: zones.filter((zone) => !there.zones.has(zone)).sort(),
          dry_run: options.dryRun,
        })
        if (options.dryRun) return answer

        const blobs = yield* Effect.forEach(
          changed,
          ({ fullPath, bytes, queueing }) =>
            Effect.map(files.store(fullPath, bytes), (blob) => ({ ...blob, queueing })),
          {
            concurrency: storeConcurrency,
          },
        )
        yield* Effect.gen(function* () {
          yield* namespaces.ensure(namespace)
          yield* Effect.forEach(missing, ({ layer, name, type }) =>
            pipelines
              .create(new PipelineCreate({ namespace, layer, name: PipelineName.make(name), type }))
              // Another push made it in this moment.
              .pipe(Effect.catchTag("PipelineExists", () => Effect.void)),
          )
          yield* landing.ensure(namespace, zones)
          yield* files.link(blobs)
          yield* files.remove(stale)
        }).pipe(
          sql.withTransaction,
          // Ensured in the same transaction.
          Effect.catchTag("NamespaceNotFound", Effect.die),
        )
        return answer
      })

      return ProjectRepository.of({ push })
    }),
  )
}

const partition = <A>(items: ReadonlyArray<A>, isFirst: (item: A) => boolean): readonly [Array<A>, Array<A>] => [
  items.filter(isFirst),
  items.filter((item) => !isFirst(item)),
]
