import { Api, DiffRequest, pageOf, TableKey, TableMetadata } from "@rat/domain"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { wired } from "../http/ErrorEnvelope.ts"
import { QueryAnswers } from "../query/QueryAnswers.ts"
import { QueryClient } from "../query/QueryClient.ts"
import { TableMetadataRepository } from "./TableMetadataRepository.ts"
import { makeTableVersions } from "./TableVersions.ts"
import { makeTableView } from "./TableView.ts"

const previewRows = { fallback: 50, most: 1000 }

/** Rows of each kind in the sample of a diff. */
const diffRows = 20

const previewLimit = (text: string | undefined): number => {
  const limit = Number.parseInt(text ?? "", 10)
  return Number.isNaN(limit) ? previewRows.fallback : Math.min(previewRows.most, Math.max(1, limit))
}

const only = <A extends Record<string, string | undefined>>(filter: A) =>
  Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined)) as { [K in keyof A]?: string }

export const TablesHttp = HttpApiBuilder.group(
  Api,
  "tables",
  Effect.fn(function* (handlers) {
    const view = yield* makeTableView
    const written = yield* TableMetadataRepository
    const answers = yield* QueryAnswers
    const versions = yield* makeTableVersions
    const queries = yield* QueryClient
    return handlers.handleAll({
      list: ({ query }) =>
        wired(view.list(query.branch, only({ namespace: query.namespace, layer: query.layer }), pageOf(query))),
      get: ({ params, query }) => wired(view.detail(params, query.branch)),
      preview: ({ params, query }) =>
        wired(
          Effect.gen(function* () {
            yield* view.pointer(params, query.branch)
            return yield* answers.preview(params, query.branch, previewLimit(query.limit))
          }),
        ),
      metadata: ({ params }) =>
        wired(
          Effect.gen(function* () {
            const found = yield* written.find(params)
            if (found !== null) return found
            const { updatedAt } = yield* view.pointer(params, undefined)
            return new TableMetadata({
              ...params,
              id: "",
              description: "",
              column_descriptions: {},
              created_at: updatedAt,
              updated_at: updatedAt,
            })
          }),
        ),
      updateMetadata: ({ params, payload }) => wired(written.update(params, payload)),
      snapshots: ({ params, query }) =>
        wired(Effect.map(versions.snapshots(params, query.branch), (snapshots) => ({ snapshots }))),
      rollback: ({ params, payload }) =>
        wired(
          Effect.andThen(
            versions.rollback(params, { snapshotId: payload.snapshot_id, at: payload.at }, payload.branch),
            view.detail(params, payload.branch),
          ),
        ),
      drop: ({ params, query }) => wired(versions.drop(params, query.branch)),
      dropped: ({ query }) =>
        wired(Effect.map(versions.dropped(query.namespace, query.branch), (tables) => ({ tables }))),
      undrop: ({ params, query }) =>
        wired(Effect.andThen(versions.undrop(params, query.branch), view.detail(params, query.branch))),
      diff: ({ params, payload }) =>
        wired(
          queries.Diff(
            new DiffRequest({
              table: new TableKey(params),
              a: payload.a,
              b: payload.b,
              key: payload.key ?? null,
              limit: payload.limit ?? diffRows,
              ...(payload.timeout_ms === undefined ? {} : { timeoutMs: payload.timeout_ms }),
            }),
          ),
        ),
    })
  }),
)
