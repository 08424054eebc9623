import type { Layer } from "@rat/domain"
import type { Answer, Payload, Query } from "../http/Plain.ts"
import type { CallOptions, Transport } from "../http/Transport.ts"

type TableReport = Extract<Answer<"maintenance", "maintain">, { readonly operations: unknown }>
type Accepted = Exclude<Answer<"maintenance", "maintain">, TableReport>
type OrphanReport = Exclude<Answer<"maintenance", "orphans">, Accepted>
type Operations = NonNullable<Payload<"maintenance", "maintain">["operations"]>

/** `client.maintenance`: compaction, expiry of snapshots, removal of orphans, and their history. */
export class Maintenance {
  readonly #transport: Transport
  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** Runs, newest first. */
  list(query: Query<"maintenance", "list"> = {}, call?: CallOptions): Promise<Answer<"maintenance", "list">> {
    return this.#transport.json("maintenance", "list", { query }, call)
  }

  get(id: string, call?: CallOptions): Promise<Answer<"maintenance", "get">> {
    return this.#transport.json("maintenance", "get", { params: { id } }, call)
  }

  /** Looks after a table; the run goes on after the answer. */
  maintain(
    namespace: string,
    layer: Layer,
    name: string,
    options: { readonly operations?: Operations } = {},
    call?: CallOptions,
  ): Promise<Accepted> {
    return this.#transport.json(
      "maintenance",
      "maintain",
      { params: { namespace, layer, name }, payload: options },
      call,
    ) as Promise<Accepted>
  }

  /** What `maintain` would do now. */
  plan(
    namespace: string,
    layer: Layer,
    name: string,
    options: { readonly operations?: Operations } = {},
    call?: CallOptions,
  ): Promise<TableReport> {
    return this.#transport.json(
      "maintenance",
      "maintain",
      { params: { namespace, layer, name }, payload: { ...options, dry_run: true } },
      call,
    ) as Promise<TableReport>
  }

  /** Removes objects that nothing points to; the run goes on after the answer. */
  removeOrphans(call?: CallOptions): Promise<Accepted> {
    return this.#transport.json("maintenance", "orphans", { payload: {} }, call) as Promise<Accepted>
  }

  /** Which objects nothing points to, with bytes per table. */
  orphans(call?: CallOptions): Promise<OrphanReport> {
    return this.#transport.json("maintenance", "orphans", { payload: { dry_run: true } }, call) as Promise<OrphanReport>
  }

  policy(namespace: string, layer: Layer, name: string, call?: CallOptions): Promise<Answer<"maintenance", "policy">> {
    return this.#transport.json("maintenance", "policy", { params: { namespace, layer, name } }, call)
  }

  /** Replaces what was set here before; it wins over the pipeline's config.yaml. */
  setPolicy(
    namespace: string,
    layer: Layer,
    name: string,
    payload: Payload<"maintenance", "setPolicy">,
    call?: CallOptions,
  ): Promise<Answer<"maintenance", "setPolicy">> {
    return this.#transport.json("maintenance", "setPolicy", { params: { namespace, layer, name }, payload }, call)
  }
}
