import type { Answer, Payload } from "../http/Plain.ts"
import type { CallOptions, Transport } from "../http/Transport.ts"

/** `client.projects` */
export class Projects {
  readonly #transport: Transport
  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** Brings all files of a project to the server, or none: `ValidationError` lists every problem in `details.issues`. */
  push(
    namespace: string,
    payload: Payload<"projects", "push">,
    call?: CallOptions,
  ): Promise<Answer<"projects", "push">> {
    return this.#transport.json("projects", "push", { params: { namespace }, payload }, call)
  }
}
