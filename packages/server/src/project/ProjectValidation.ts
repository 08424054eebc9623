import {
  mainRef,
  type NamespaceName,
  ProjectFile,
  type ProjectIssue,
  type Queueing,
  type RoleUnavailable,
} from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { Context, Effect, Layer } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { RunnerClient } from "./RunnerClient.ts"

const projectFile = (file: { readonly path: string; readonly content: string }) =>
  new ProjectFile({ path: file.path, content: file.content })

/** Checks files against everything that the server already has. */
export class ProjectValidation extends Context.Service<
  ProjectValidation,
  {
    /** Every problem of the files; `zones` are landing zones that will be there too. Paths are inside the namespace. */
    readonly issues: (
      namespace: NamespaceName,
      files: ReadonlyArray<{ readonly path: string; readonly content: string }>,
      zones?: ReadonlyArray<string>,
    ) => Effect.Effect<ReadonlyArray<ProjectIssue>, SqlError.SqlError | RoleUnavailable>
    /** What each file says of how its pipeline's runs queue, in their order. For files without issues. */
    readonly queueing: (
      files: ReadonlyArray<{ readonly path: string; readonly content: string }>,
    ) => Effect.Effect<ReadonlyArray<Queueing>, RoleUnavailable>
  }
>()("rat/server/project/ProjectValidation") {
  static readonly layer = Layer.effect(
    ProjectValidation,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const catalog = yield* Catalog
      const runner = yield* RunnerClient

      /** `namespace.layer.name` of pipelines and tables, `zone:name` of the namespace's landing zones. */
      const known = Effect.fn("ProjectValidation.known")(function* (namespace: string) {
        const names = yield* sql<{ name: string }>`
          select namespace || '.' || layer || '.' || name as name
          from pipeline
          where deleted_at is null
          union all
          select 'zone:' || name
          from landing_zone
          where namespace = ${namespace}`
        const tables = yield* catalog.tables(mainRef).pipe(Effect.catchTag("RefNotFound", Effect.die))
        return new Set([...names.map((row) => row.name), ...tables.map(({ key }) => key.toString())])
      })

      const issues = Effect.fn("ProjectValidation.issues")(function* (
        namespace: NamespaceName,
        files: ReadonlyArray<{ readonly path: string; readonly content: string }>,
        zones: ReadonlyArray<string> = [],
      ) {
        const names = yield* known(namespace)
        for (const zone of zones) names.add(`zone:${zone}`)
        return yield* runner.Validate({
          namespace,
          files: files.map(projectFile),
          known: [...names],
        })
      })

      const queueing = Effect.fn("ProjectValidation.queueing")(function* (
        files: ReadonlyArray<{ readonly path: string; readonly content: string }>,
      ) {
        const read = files.filter((file) => /\/(?:pipeline\.sql|config\.yaml)$/.test(file.path))
        if (read.length === 0) return files.map(() => ({}))
        const said = yield* runner.Queueing({ files: read.map(projectFile) })
        const byPath = new Map(read.map((file, index) => [file.path, said[index] ?? {}]))
        return files.map((file) => byPath.get(file.path) ?? {})
      })

      return ProjectValidation.of({ issues, queueing })
    }),
  )
}
