import { Api, pageOf } from "@rat/domain"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { wired } from "../http/ErrorEnvelope.ts"
import { NamespaceRepository } from "./NamespaceRepository.ts"

export const NamespacesHttp = HttpApiBuilder.group(
  Api,
  "namespaces",
  Effect.fn(function* (handlers) {
    const namespaces = yield* NamespaceRepository
    return handlers.handleAll({
      list: ({ query }) => wired(namespaces.list({ ...pageOf(query), sort: query.sort })),
      create: ({ payload }) =>
        wired(
          Effect.map(namespaces.create(payload.name, payload.description ?? ""), (namespace) => ({
            name: namespace.name,
          })),
        ),
      update: ({ params, payload }) => wired(namespaces.describe(params.name, payload.description)),
      delete: ({ params }) => wired(namespaces.remove(params.name)),
    })
  }),
)
