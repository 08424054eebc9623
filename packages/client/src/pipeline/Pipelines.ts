import type { Layer } from "@rat/domain"
import type { Answer, Payload, Query } from "../http/Plain.ts"
import type { CallOptions, Transport } from "../http/Transport.ts"

/** `client.pipelines`; a pipeline's address is namespace, layer and name. */
export class Pipelines {
  readonly #transport: Transport
  constructor(transport: Transport) {
    this.#transport = transport
  }

  list(query: Query<"pipelines", "list"> = {}, call?: CallOptions): Promise<Answer<"pipelines", "list">> {
    return this.#transport.json("pipelines", "list", { query }, call)
  }

  /** Makes the pipeline and the files it announces; files that are there already stay as they are. */
  create(payload: Payload<"pipelines", "create">, call?: CallOptions): Promise<Answer<"pipelines", "create">> {
    return this.#transport.json("pipelines", "create", { payload }, call)
  }

  get(namespace: string, layer: Layer, name: string, call?: CallOptions): Promise<Answer<"pipelines", "get">> {
    return this.#transport.json("pipelines", "get", { params: { namespace, layer, name } }, call)
  }

  update(
    namespace: string,
    layer: Layer,
    name: string,
    payload: Payload<"pipelines", "update">,
    call?: CallOptions,
  ): Promise<Answer<"pipelines", "update">> {
    return this.#transport.json("pipelines", "update", { params: { namespace, layer, name }, payload }, call)
  }

  /** The published table stays. */
  /** The published table stays, unless `tables` is `drop`; then it can be brought back for some time. */
  delete(
    namespace: string,
    layer: Layer,
    name: string,
    call?: CallOptions & Query<"pipelines", "delete">,
  ): Promise<void> {
    const query = call?.tables === undefined ? {} : { tables: call.tables }
    return this.#transport.json("pipelines", "delete", { params: { namespace, layer, name }, query }, call)
  }
}
