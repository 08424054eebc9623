import type { Event } from "@rat/domain"
import { dataOf, followStream } from "../http/EventStream.ts"
import type { Plain } from "../http/Plain.ts"
import type { Transport } from "../http/Transport.ts"

/** An event, or that retention has removed events above `after`, up to and including `up_to`, before they were read. */
export type EventNews =
  | { readonly type: "event"; readonly event: Plain<Event> }
  | { readonly type: "gap"; readonly after: string; readonly up_to: string; readonly missed: number }

export interface EventFollowOptions {
  readonly signal?: AbortSignal | undefined
  /** Offset behind which to begin; from now on without one, from the oldest event with 0. */
  readonly after?: string | bigint | undefined
  readonly namespace?: string | undefined
  /** `run.succeeded`, or `run.*` for every type of runs; several separated by commas. */
  readonly type?: string | undefined
  /** What the events are about: run id, pipeline id, path, table. */
  readonly key?: string | undefined
}

/**
 * Every event from an offset or from now on, each once and in order, without an end. A lost connection is opened again
 * behind the last event that arrived, on whichever node answers.
 */
export async function* followEvents(
  transport: Transport,
  options: EventFollowOptions = {},
): AsyncGenerator<EventNews, void, undefined> {
  const { key, namespace, signal, type } = options
  // Known before the first connection: what happens while a second one is needed is not missed.
  let last =
    options.after === undefined
      ? BigInt((await transport.json("events", "list", { query: { limit: 1 } }, { signal })).newest)
      : BigInt(options.after)
  const open = () =>
    transport.send(
      "events",
      "list",
      {
        query: { namespace, type, key, after: last.toString() },
        headers: { accept: "text/event-stream", "last-event-id": last.toString() },
      },
      { signal, maxRetries: 0 },
    )
  for await (const sent of followStream(open, signal)) {
    if (sent.event === "gap") {
      const gap = dataOf(sent) as { readonly after: string; readonly up_to: string; readonly missed: number }
      last = BigInt(gap.up_to)
      yield { type: "gap", ...gap }
    } else if (sent.event === "message") {
      const event = dataOf(sent) as Plain<Event>
      const offset = BigInt(event.offset)
      if (offset <= last) continue
      last = offset
      yield { type: "event", event }
    }
  }
}
