import type { Answer, Query } from "../http/Plain.ts"
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
}
