import type { Answer, Query } from "../http/Plain.ts"
import type { CallOptions, Transport } from "../http/Transport.ts"
import { type EventFollowOptions, type EventNews, followEvents } from "./EventFollow.ts"

export type EventConsumer = Answer<"events", "consumers">["consumers"][number]

/** `client.events`: everything that happened, and who handles it. */
export class Events {
  readonly #transport: Transport
  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** A page of events behind `after`, oldest first; `next` is where the following one begins. */
  list(query: Query<"events", "list"> = {}, call?: CallOptions): Promise<Answer<"events", "list">> {
    return this.#transport.json("events", "list", { query }, call)
  }

  /** Events as they happen, without an end. Survives lost connections. */
  follow(options?: EventFollowOptions): AsyncGenerator<EventNews, void, undefined> {
    return followEvents(this.#transport, options)
  }

  consumers(call?: CallOptions): Promise<Answer<"events", "consumers">> {
    return this.#transport.json("events", "consumers", {}, call)
  }

  /** Lets a consumer handle events again, or leave some out: `from` is the next one. */
  replay(name: string, from: string | bigint, call?: CallOptions): Promise<EventConsumer> {
    return this.#transport.json("events", "replay", { params: { name }, payload: { from: from.toString() } }, call)
  }

  /** Gives up on the event that a consumer fails at; rejects with `ConflictError` when it fails at another one. */
  skip(name: string, offset: string | bigint, call?: CallOptions): Promise<EventConsumer> {
    return this.#transport.json("events", "skip", { params: { name }, payload: { offset: offset.toString() } }, call)
  }

  /** Forgets how far a consumer was that no node works for. */
  forget(name: string, call?: CallOptions): Promise<void> {
    return this.#transport.json("events", "forget", { params: { name } }, call)
  }
}
