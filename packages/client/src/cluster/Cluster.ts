import type { Answer } from "../http/Plain.ts"
import type { CallOptions, Transport } from "../http/Transport.ts"

/** `client.cluster` */
export class Cluster {
  readonly #transport: Transport
  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** Nodes with roles, slots, shards, versions and health. */
  get(call?: CallOptions): Promise<Answer<"cluster", "get">> {
    return this.#transport.json("cluster", "get", {}, call)
  }
}
