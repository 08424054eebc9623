import { Api, type PipelineType, pageOf, pipelineFolder } from "@rat/domain"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { SqlClient } from "effect/sql"
import { FileRepository } from "../file/FileRepository.ts"
import { wired, wireError } from "../http/ErrorEnvelope.ts"
import { makeTableVersions } from "../table/TableVersions.ts"
import { type PipelineAddress, PipelineRepository } from "./PipelineRepository.ts"
import { scaffoldOf } from "./Scaffold.ts"

/** Python is refused where it is chosen, not when it would run. */
const refusePython = (type: PipelineType | undefined) =>
  type === "python"
    ? Effect.fail(
        wireError(
          400,
          'Pipelines of type "python" do not run yet: this server has no sandbox for Python. Write the pipeline in SQL (type "sql").',
          { details: { field: "type", supported: ["sql"] } },
        ),
      )
    : Effect.void

export const PipelinesHttp = HttpApiBuilder.group(
  Api,
  "pipelines",
  Effect.fn(function* (handlers) {
    const sql = yield* SqlClient.SqlClient
    const pipelines = yield* PipelineRepository
    const files = yield* FileRepository

    const versions = yield* makeTableVersions

    const remove = Effect.fn("PipelinesHttp.delete")(function* (at: PipelineAddress, tables: "keep" | "drop") {
      yield* pipelines.remove(at)
      // A pipeline that never published has no table.
      if (tables === "drop") yield* Effect.catchTag(versions.drop(at), "TableNotFound", () => Effect.void)
      const listed = yield* files.list(pipelineFolder(at))
      yield* files.remove(listed.map((file) => file.path))
    }, sql.withTransaction)

    return handlers.handleAll({
      list: ({ query }) =>
        wired(
          pipelines.list({
            ...pageOf(query),
            sort: query.sort,
            namespace: query.namespace,
            layer: query.layer,
            search: query.search,
          }),
        ),
      create: ({ payload }) =>
        wired(
          Effect.gen(function* () {
            yield* refusePython(payload.type)
            const scaffold = scaffoldOf(payload)
            // Bytes first: the object store takes no part in transactions, and blobs that nothing names are harmless.
            const blobs = yield* Effect.forEach(
              scaffold,
              (file) => files.store(file.path, new TextEncoder().encode(file.text)),
              { concurrency: "unbounded" },
            )
            const written = yield* Effect.gen(function* () {
              yield* pipelines.create(payload)
              const there = new Set((yield* files.list(pipelineFolder(payload))).map((file) => file.path))
              const missing = blobs.filter((blob) => !there.has(blob.path))
              yield* files.link(missing)
              return new Set<string>(missing.map((blob) => blob.path))
            }).pipe(sql.withTransaction)
            return {
              namespace: payload.namespace,
              layer: payload.layer,
              name: payload.name,
              s3_path: pipelineFolder(payload),
              files_created: scaffold.filter((file) => written.has(file.path)).map((file) => file.name),
            }
          }),
        ),
      get: ({ params }) => wired(pipelines.find(params)),
      update: ({ params, payload }) =>
        wired(Effect.andThen(refusePython(payload.type), pipelines.update(params, payload))),
      delete: ({ params, query }) => wired(remove(params, query.tables ?? "keep")),
    })
  }),
)
