import type { Answer, Payload, Query } from "../http/Plain.ts"
import type { CallOptions, Transport } from "../http/Transport.ts"

/** `client.tags`: states of the catalog with a name that never moves. */
export class Tags {
  readonly #transport: Transport
  constructor(transport: Transport) {
    this.#transport = transport
  }

  list(query: Query<"tags", "list"> = {}, call?: CallOptions): Promise<Answer<"tags", "list">> {
    return this.#transport.json("tags", "list", { query }, call)
  }

  create(payload: Payload<"tags", "create">, call?: CallOptions): Promise<Answer<"tags", "create">> {
    return this.#transport.json("tags", "create", { payload }, call)
  }

  delete(name: string, call?: CallOptions): Promise<void> {
    return this.#transport.json("tags", "delete", { params: { name } }, call)
  }
}
