import type { Layer } from "@rat/domain"
import type { Answer, Payload, Query } from "../http/Plain.ts"
import type { CallOptions, Transport } from "../http/Transport.ts"

/** `client.tables`: published tables, or those of a branch. */
export class Tables {
  readonly #transport: Transport
  constructor(transport: Transport) {
    this.#transport = transport
  }

  list(query: Query<"tables", "list"> = {}, call?: CallOptions): Promise<Answer<"tables", "list">> {
    return this.#transport.json("tables", "list", { query }, call)
  }

  get(
    namespace: string,
    layer: Layer,
    name: string,
    query: Query<"tables", "get"> = {},
    call?: CallOptions,
  ): Promise<Answer<"tables", "get">> {
    return this.#transport.json("tables", "get", { params: { namespace, layer, name }, query }, call)
  }

  /** The first rows. */
  preview(
    namespace: string,
    layer: Layer,
    name: string,
    query: { readonly limit?: number; readonly branch?: string } = {},
    call?: CallOptions,
  ): Promise<Answer<"tables", "preview">> {
    return this.#transport.json("tables", "preview", { params: { namespace, layer, name }, query }, call)
  }

  /** What people wrote about the table. */
  metadata(namespace: string, layer: Layer, name: string, call?: CallOptions): Promise<Answer<"tables", "metadata">> {
    return this.#transport.json("tables", "metadata", { params: { namespace, layer, name } }, call)
  }

  /** Changes the given fields only. */
  updateMetadata(
    namespace: string,
    layer: Layer,
    name: string,
    payload: Payload<"tables", "updateMetadata">,
    call?: CallOptions,
  ): Promise<Answer<"tables", "updateMetadata">> {
    return this.#transport.json("tables", "updateMetadata", { params: { namespace, layer, name }, payload }, call)
  }

  /** Snapshots, newest first. */
  snapshots(
    namespace: string,
    layer: Layer,
    name: string,
    query: Query<"tables", "snapshots"> = {},
    call?: CallOptions,
  ): Promise<Answer<"tables", "snapshots">> {
    return this.#transport.json("tables", "snapshots", { params: { namespace, layer, name }, query }, call)
  }

  /** Sets the table to an older snapshot, as a new commit. */
  rollback(
    namespace: string,
    layer: Layer,
    name: string,
    payload: Payload<"tables", "rollback">,
    call?: CallOptions,
  ): Promise<Answer<"tables", "rollback">> {
    return this.#transport.json("tables", "rollback", { params: { namespace, layer, name }, payload }, call)
  }

  /** Drops the table; `undrop` brings it back for some time. */
  drop(
    namespace: string,
    layer: Layer,
    name: string,
    query: Query<"tables", "drop"> = {},
    call?: CallOptions,
  ): Promise<void> {
    return this.#transport.json("tables", "drop", { params: { namespace, layer, name }, query }, call)
  }

  /** Dropped tables that can be brought back. */
  dropped(query: Query<"tables", "dropped"> = {}, call?: CallOptions): Promise<Answer<"tables", "dropped">> {
    return this.#transport.json("tables", "dropped", { query }, call)
  }

  undrop(
    namespace: string,
    layer: Layer,
    name: string,
    query: Query<"tables", "undrop"> = {},
    call?: CallOptions,
  ): Promise<Answer<"tables", "undrop">> {
    return this.#transport.json("tables", "undrop", { params: { namespace, layer, name }, query }, call)
  }

  /** Rows added, removed and changed between two states of the table. */
  diff(
    namespace: string,
    layer: Layer,
    name: string,
    payload: Payload<"tables", "diff">,
    call?: CallOptions,
  ): Promise<Answer<"tables", "diff">> {
    return this.#transport.json("tables", "diff", { params: { namespace, layer, name }, payload }, call)
  }
}
