import type { RunUpdate } from "@rat/domain"
import { Context, Duration, Effect, Layer, type Scope, Stream } from "effect"
import { wireError } from "../http/ErrorEnvelope.ts"
import { heartbeat, sseEvent } from "../http/ServerSentEvents.ts"
import { RunSettings } from "./RunSettings.ts"

/**
 * A run's news as server-sent events: `log` with the line's number as id, `status`, and `error` when the stream ends
 * before the run does. A comment line now and then keeps proxies from closing a quiet connection.
 */

const event = (name: "log" | "status" | "error", data: unknown, id?: number) =>
  sseEvent({ name, json: JSON.stringify(data), ...(id === undefined ? {} : { id }) })

const encodeUpdate = (update: RunUpdate): string =>
  update._tag === "Log"
    ? event("log", { ...update.entry }, update.entry.seq)
    : event("status", { status: update.status })

/** What `Last-Event-ID` names: the number of the last line that the client has. */
export const resumeAfter = (lastEventId: string | undefined): number => {
  const seq = /^\d{1,9}$/.test(lastEventId ?? "") ? Number(lastEventId) : 0
  return seq
}

export const eventStream = (
  updates: Stream.Stream<RunUpdate, { readonly _tag: string; readonly message: string }>,
  options: { readonly heartbeat: Duration.Duration; readonly maxLife: Duration.Duration },
): Stream.Stream<Uint8Array> => {
  const events = updates.pipe(
    Stream.map(encodeUpdate),
    Stream.catchCause(() =>
      Stream.succeed(
        event("error", {
          code: "DISCONNECTED",
          message: "The server lost the run's actor. Connect again with Last-Event-ID to go on.",
        }),
      ),
    ),
  )
  const tooOld = Stream.fromEffect(
    Effect.as(
      Effect.sleep(options.maxLife),
      event("error", {
        code: "TIMEOUT",
        message: `A stream lives at most ${Duration.format(options.maxLife)}. Connect again with Last-Event-ID to go on.`,
      }),
    ),
  )
  const beats = Stream.fromEffectRepeat(Effect.as(Effect.sleep(options.heartbeat), heartbeat))
  return events.pipe(
    Stream.merge(beats, { haltStrategy: "left" }),
    Stream.merge(tooOld, { haltStrategy: "either" }),
    Stream.encodeText,
  )
}

/** How many event streams (logs of runs, events) are open, by client. Limits are of this node. */
export class LogStreams extends Context.Service<
  LogStreams,
  {
    readonly open: Effect.Effect<number>
    /** Counts a stream until the scope closes, or refuses it (429). */
    readonly enter: (client: string) => Effect.Effect<void, ReturnType<typeof wireError>, Scope.Scope>
  }
>()("rat/server/run/LogStreams") {
  static readonly layer = Layer.effect(
    LogStreams,
    Effect.gen(function* () {
      const settings = yield* RunSettings
      const byClient = new Map<string, number>()
      let total = 0

      const refuse = (limit: number, whose: string) =>
        Effect.fail(
          wireError(
            429,
            `There are already ${limit} open event streams ${whose}, the most there may be. Close one, or read without following.`,
            { details: { limit, retry_after_seconds: 5 } },
          ),
        )

      return LogStreams.of({
        open: Effect.sync(() => total),
        enter: (client) =>
          Effect.gen(function* () {
            const own = byClient.get(client) ?? 0
            if (own >= settings.streamsPerClient) return yield* refuse(settings.streamsPerClient, "from your address")
            if (total >= settings.streamsPerNode) return yield* refuse(settings.streamsPerNode, "on this server")
            yield* Effect.acquireRelease(
              Effect.sync(() => {
                byClient.set(client, own + 1)
                total += 1
              }),
              () =>
                Effect.sync(() => {
                  const left = (byClient.get(client) ?? 1) - 1
                  if (left === 0) byClient.delete(client)
                  else byClient.set(client, left)
                  total -= 1
                }),
            )
          }),
      })
    }),
  )
}
