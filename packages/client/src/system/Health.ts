import type { Answer } from "../http/Plain.ts"
import type { CallOptions, Transport } from "../http/Transport.ts"

/** `client.health` */
export class Health {
  readonly #transport: Transport
  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** Version of the server; resolves whenever the process answers. */
  live(call?: CallOptions): Promise<Answer<"health", "live">> {
    return this.#transport.json("health", "live", {}, call)
  }

  /** State of each dependency. "not_ready" is an answer, not an error. */
  ready(call: CallOptions = {}): Promise<Answer<"health", "ready">> {
    return this.#transport.json("health", "ready", {}, { ...call, maxRetries: call.maxRetries ?? 0 }, [503])
  }
}
