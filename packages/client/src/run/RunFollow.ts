import type { LogEntry, WireRunStatus } from "@rat/domain"
import { Sse } from "effect/encoding"
import type { Plain } from "../http/Plain.ts"
import { ConnectionError, RatError, ServerError, TimeoutError } from "../http/RatError.ts"
import { pause } from "../http/ResilientFetch.ts"
import type { Transport } from "../http/Transport.ts"

/** One piece of news about a run. */
export type RunUpdate =
  | { readonly type: "log"; readonly entry: Plain<LogEntry> }
  | { readonly type: "status"; readonly status: WireRunStatus }

export interface FollowOptions {
  readonly signal?: AbortSignal | undefined
  /** Log lines up to this `seq` are left out. */
  readonly afterSeq?: number | undefined
}

/** The server sends a comment every 15 s; a connection that is silent for three of them is dead. */
const silenceMs = 45_000
/** Reconnections without any news in between before giving up; with back-off about a minute and a half. */
const maxFailures = 10

const isTerminal = (status: WireRunStatus) => status !== "pending" && status !== "running"

/** Events of a body, as they arrive. Ends with the body; rejects when it breaks or stays silent. */
async function* eventsOf(body: ReadableStream<Uint8Array>, signal: AbortSignal | undefined) {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let events: Array<Sse.Event> = []
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

const lost = (why: string, cause?: unknown) =>
  new ConnectionError({ status: 0, code: "STREAM_LOST", message: `The event stream was lost: ${why}.`, cause })

/** Errors after which asking again can help; anything else (404, 403, …) ends the following. */
const canHeal = (error: unknown) =>
  error instanceof ConnectionError ||
  error instanceof TimeoutError ||
  error instanceof ServerError ||
  (error instanceof RatError && error.status === 429)

const parse = (data: string): unknown => {
  try {
    return JSON.parse(data)
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
 * A run's log lines and status changes over server-sent events, each once and in order. A lost connection is opened
 * again behind the last line that arrived (`Last-Event-ID`), with growing pauses. Ends after a terminal status.
 */
export async function* followRun(
  transport: Transport,
  runId: string,
  options: FollowOptions = {},
): AsyncGenerator<RunUpdate, void, undefined> {
  let seq = options.afterSeq
  let status: WireRunStatus | undefined
  let failures = 0
  while (true) {
    try {
      const headers = {
        accept: "text/event-stream",
        "last-event-id": seq === undefined ? undefined : String(seq),
      }
      const call = { signal: options.signal, maxRetries: 0 }
      const response = await transport.send("runs", "logs", { params: { runId }, headers }, call)
      if (response.body === null) throw lost("the answer has no body")
      for await (const event of eventsOf(response.body, options.signal)) {
        failures = 0
        if (event.event === "log") {
          const entry = parse(event.data) as Plain<LogEntry>
          // A server that ignores Last-Event-ID repeats what was seen.
          if (seq !== undefined && entry.seq <= seq) continue
          seq = entry.seq
          yield { type: "log", entry }
        } else if (event.event === "status") {
          const next = (parse(event.data) as { status: WireRunStatus }).status
          if (next !== status) yield { type: "status", status: next }
          status = next
          if (isTerminal(next)) return
        } else if (event.event === "error") {
          const { code, message } = parse(event.data) as { code: string; message: string }
          throw new ConnectionError({ status: 0, code, message })
        }
      }
      throw lost("the server closed it")
    } catch (error) {
      if (options.signal?.aborted) throw options.signal.reason
      failures++
      if (!canHeal(error) || failures > maxFailures) throw error
      await pause(Math.min(15_000, 100 * 2 ** failures) * (0.5 + Math.random()), options.signal)
    }
  }
}
