import { Sse } from "effect/encoding"
import { ConnectionError, RatError, ServerError, TimeoutError } from "./RatError.ts"
import { pause } from "./ResilientFetch.ts"

/** The server sends a comment every 15 s; a connection that is silent for three of them is dead. */
const silenceMs = 45_000
/** Reconnections without a sign of life in between before giving up; with back-off about a minute and a half. */
const maxFailures = 10

/** One server-sent event. `data` is JSON as text. */
export interface SentEvent {
  readonly event: string
  readonly id: string | undefined
  readonly data: string
}

const lost = (why: string, cause?: unknown) =>
  new ConnectionError({ status: 0, code: "STREAM_LOST", message: `The event stream was lost: ${why}.`, cause })

/** Events of a body, as they arrive. Ends with the body; rejects when it breaks or stays silent. */
async function* eventsOf(
  body: ReadableStream<Uint8Array>,
  signal: AbortSignal | undefined,
  alive: () => void,
): AsyncGenerator<SentEvent, void, undefined> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let events: Array<SentEvent> = []
  const parser = Sse.makeParser((event) => {
    if (event._tag === "Event") events.push(event)
  })
  try {
    while (true) {
      const silence = new AbortController()
      const silent = pause(silenceMs, silence.signal).then(
        () => "silent" as const,
        () => "silent" as const,
      )
      const chunk = await Promise.race([reader.read(), silent]).finally(() => silence.abort())
      if (chunk === "silent") throw lost(`no sign of life for ${silenceMs / 1000} s`)
      if (chunk.done) return
      alive()
      const tooLarge = parser.feed(decoder.decode(chunk.value, { stream: true }))
      if (tooLarge !== undefined) throw lost(tooLarge.message)
      yield* events
      events = []
    }
  } catch (error) {
    if (signal?.aborted) throw signal.reason
    throw error instanceof RatError ? error : lost(String(error), error)
  } finally {
    // Also when the consumer stops early: the server learns that nobody listens.
    await reader.cancel().catch(() => undefined)
  }
}

/** Errors after which asking again can help; anything else (404, 403, …) ends the following. */
const canHeal = (error: unknown) =>
  error instanceof ConnectionError ||
  error instanceof TimeoutError ||
  error instanceof ServerError ||
  (error instanceof RatError && error.status === 429)

/** JSON that an event carries. */
export const dataOf = (event: SentEvent): unknown => {
  try {
    return JSON.parse(event.data)
  } catch (cause) {
    throw new ServerError({
      status: 200,
      code: "BAD_ANSWER",
      message: "The server sent an event that is not JSON.",
      cause,
    })
  }
}

/**
 * Events of one stream after the other: a lost connection, and one that the server ends, is opened again with growing
 * pauses. `open` asks behind what the caller has seen so far. Ends only when the caller stops.
 */
export async function* followStream(
  open: () => Promise<Response>,
  signal: AbortSignal | undefined,
): AsyncGenerator<SentEvent, void, undefined> {
  let failures = 0
  while (true) {
    try {
      const response = await open()
      if (response.body === null) throw lost("the answer has no body")
      const alive = () => {
        failures = 0
      }
      for await (const event of eventsOf(response.body, signal, alive)) {
        if (event.event === "error") {
          const { code, message } = dataOf(event) as { code: string; message: string }
          throw new ConnectionError({ status: 0, code, message })
        }
        yield event
      }
      throw lost("the server closed it")
    } catch (error) {
      if (signal?.aborted) throw signal.reason
      failures++
      if (!canHeal(error) || failures > maxFailures) throw error
      await pause(Math.min(15_000, 100 * 2 ** failures) * (0.5 + Math.random()), signal)
    }
  }
}
