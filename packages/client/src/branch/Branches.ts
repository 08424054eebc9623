import type { Answer, Payload, Query } from "../http/Plain.ts"
import type { CallOptions, Transport } from "../http/Transport.ts"

/** `client.branches`: states of the catalog that people change apart from main, and main's own history. */
export class Branches {
  readonly #transport: Transport
  constructor(transport: Transport) {
    this.#transport = transport
  }

  list(query: Query<"branches", "list"> = {}, call?: CallOptions): Promise<Answer<"branches", "list">> {
    return this.#transport.json("branches", "list", { query }, call)
  }

  create(payload: Payload<"branches", "create">, call?: CallOptions): Promise<Answer<"branches", "create">> {
    return this.#transport.json("branches", "create", { payload }, call)
  }

  get(name: string, call?: CallOptions): Promise<Answer<"branches", "get">> {
    return this.#transport.json("branches", "get", { params: { name } }, call)
  }

  delete(name: string, call?: CallOptions): Promise<void> {
    return this.#transport.json("branches", "delete", { params: { name } }, call)
  }

  /** Tables that the branch changed. */
  changes(name: string, call?: CallOptions): Promise<Answer<"branches", "changes">> {
    return this.#transport.json("branches", "changes", { params: { name } }, call)
  }

  /** Commits that are visible on the branch, newest first. */
  history(
    name: string,
    query: Query<"branches", "history"> = {},
    call?: CallOptions,
  ): Promise<Answer<"branches", "history">> {
    return this.#transport.json("branches", "history", { params: { name }, query }, call)
  }

  /** Moves main by the branch's changes and ends the branch; rejects with a conflict that names the tables. */
  merge(
    name: string,
    payload: Payload<"branches", "merge"> = {},
    call?: CallOptions,
  ): Promise<Answer<"branches", "merge">> {
    return this.#transport.json("branches", "merge", { params: { name }, payload }, call)
  }

  /** Sets main, or one namespace, to what it was after a commit. */
  restore(payload: Payload<"branches", "restore">, call?: CallOptions): Promise<Answer<"branches", "restore">> {
    return this.#transport.json("branches", "restore", { payload }, call)
  }
}
