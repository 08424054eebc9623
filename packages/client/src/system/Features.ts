import type { Answer } from "../http/Plain.ts"
import type { CallOptions, Transport } from "../http/Transport.ts"

/** `client.features` */
export class Features {
  readonly #transport: Transport
  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** What this server can do. */
  get(call?: CallOptions): Promise<Answer<"features", "get">> {
    return this.#transport.json("features", "get", {}, call)
  }
}
