import type { Layer } from "@rat/domain"
import type { Answer, Payload, Query } from "../http/Plain.ts"
import type { CallOptions, Transport } from "../http/Transport.ts"

/** `client.namespaces` */
export class Namespaces {
  readonly #transport: Transport
  constructor(transport: Transport) {
    this.#transport = transport
  }

  list(query: Query<"namespaces", "list"> = {}, call?: CallOptions): Promise<Answer<"namespaces", "list">> {
    return this.#transport.json("namespaces", "list", { query }, call)
  }

  /** Rejects with `ConflictError` when there is one of that name. */
  create(name: string, description?: string, call?: CallOptions): Promise<Answer<"namespaces", "create">> {
    return this.#transport.json("namespaces", "create", { payload: { name, description } }, call)
  }

  update(name: string, description: string, call?: CallOptions): Promise<void> {
    return this.#transport.json("namespaces", "update", { params: { name }, payload: { description } }, call)
  }

  /** Refused with `ConflictError` while the namespace holds anything. */
  delete(name: string, call?: CallOptions): Promise<void> {
    return this.#transport.json("namespaces", "delete", { params: { name } }, call)
  }

  /** What holds, what was set for the namespace, and its pipelines with a limit of their own. */
  limits(name: string, call?: CallOptions): Promise<Answer<"namespaces", "limits">> {
    return this.#transport.json("namespaces", "limits", { params: { name } }, call)
  }

  /** Absent: as it is; null: the server's default. */
  setLimits(
    name: string,
    payload: Payload<"namespaces", "setLimits">,
    call?: CallOptions,
  ): Promise<Answer<"namespaces", "setLimits">> {
    return this.#transport.json("namespaces", "setLimits", { params: { name }, payload }, call)
  }

  /** How many runs of one pipeline may be pending; null: as many as the namespace says. */
  setPipelineLimit(
    name: string,
    layer: Layer,
    pipeline: string,
    maxPending: number | null,
    call?: CallOptions,
  ): Promise<Answer<"namespaces", "setPipelineLimit">> {
    return this.#transport.json(
      "namespaces",
      "setPipelineLimit",
      { params: { name, layer, pipeline }, payload: { max_pending: maxPending } },
      call,
    )
  }

  /** What waits, in the order in which it would start. */
  queue(name: string, call?: CallOptions): Promise<Answer<"namespaces", "queue">> {
    return this.#transport.json("namespaces", "queue", { params: { name } }, call)
  }
}
