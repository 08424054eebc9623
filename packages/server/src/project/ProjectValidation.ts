import { mainRef, type NamespaceName, ProjectFile, type ProjectIssue, type RoleUnavailable } from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { Context, Effect, Layer } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { RunnerClient } from "./RunnerClient.ts"

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
          files: files.map((file) => new ProjectFile({ path: file.path, content: file.content })),
          known: [...names],
        })
      })

      return ProjectValidation.of({ issues })
    }),
  )
}
