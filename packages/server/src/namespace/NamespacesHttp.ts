import { Api, pageOf } from "@rat/domain"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { wired } from "../http/ErrorEnvelope.ts"
import { QueueRead } from "../queue/QueueRead.ts"
import { LimitRepository } from "./LimitRepository.ts"
import { NamespaceRepository } from "./NamespaceRepository.ts"

export const NamespacesHttp = HttpApiBuilder.group(
  Api,
  "namespaces",
  Effect.fn(function* (handlers) {
    const namespaces = yield* NamespaceRepository
    const limits = yield* LimitRepository
    const queue = yield* QueueRead
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
      limits: ({ params }) => wired(limits.find(params.name)),
      setLimits: ({ params, payload }) => wired(limits.set(params.name, payload)),
      setPipelineLimit: ({ params: { name, layer, pipeline }, payload }) =>
        wired(limits.setPipeline({ namespace: name, layer, name: pipeline }, payload.max_pending)),
      queue: ({ params }) => wired(Effect.flatMap(limits.find(params.name), queue.ofNamespace)),
    })
  }),
)
