import { PgClient } from "@effect/sql-pg"
import type { RunId } from "@rat/domain"
import { untilReconnected } from "@rat/lakehouse"
import { Effect, Layer, Queue, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { RunHub } from "./RunHub.ts"

const channel = "rat_run"

/**
 * Notices are gathered for this long after one was sent, and the first is sent at once: NOTIFY in every transaction
 * costs three times its throughput.
 */
const gather = "20 millis"

/** Postgres takes at most 8,000 bytes a notice. An id takes 39 of them, a cancel an id and the name of a node. */
const maxNews = 100
const maxCancels = 24

const Notice = Schema.fromJsonString(
  Schema.Struct({
    from: Schema.String,
    wake: Schema.Boolean,
    cancel: Schema.Array(Schema.Tuple([Schema.String, Schema.String])),
    news: Schema.Array(Schema.String),
    /** More happened than fits into a notice. */
    everything: Schema.Boolean,
  }),
)

/**
 * Joins the hubs of all nodes through NOTIFY: who waits for work, or follows a run, on another node is told. A notice
 * says that something happened, never what: rows do. After a lost connection everybody reads the rows again.
 */
const layer: Layer.Layer<never, never, PgClient.PgClient | RunHub> = Layer.effectDiscard(
  Effect.gen(function* () {
    const pg = yield* PgClient.PgClient
    const hub = yield* RunHub
    const self = SecureRandom.uuidV7Unsafe()

    const due = yield* Queue.sliding<void>(1)
    let wake = false
    const cancel: Array<readonly [string, string]> = []
    const news = new Set<string>()

    const send = Effect.gen(function* () {
      yield* Queue.take(due)
      const notice = {
        from: self,
        wake,
        cancel: cancel.splice(0, maxCancels),
        news: news.size > maxNews ? [] : [...news],
        everything: news.size > maxNews,
      }
      wake = false
      news.clear()
      if (cancel.length > 0) yield* Queue.offer(due, undefined)
      yield* pg.notify(channel, yield* Effect.orDie(Schema.encodeEffect(Notice)(notice)))
      yield* Effect.sleep(gather)
    })
    yield* send.pipe(
      Effect.catchTag("SqlError", (error) => Effect.logWarning("Other nodes could not be told of runs", error)),
      Effect.forever,
      Effect.forkScoped,
    )

    const hear = (payload: string) =>
      Effect.map(Effect.orDie(Schema.decodeEffect(Notice)(payload)), (notice) => {
        if (notice.from === self) return
        if (notice.everything) hub.heard.everything()
        if (notice.wake) hub.heard.wake()
        for (const [node, runId] of notice.cancel) hub.heard.cancel(node, runId as RunId)
        for (const runId of notice.news) hub.heard.news(runId as RunId)
      })
    yield* Effect.scoped(
      Effect.gen(function* () {
        const notices = yield* pg.listen(channel)
        hub.heard.everything()
        yield* Effect.forever(Effect.flatMap(Queue.take(notices), (notice) => hear(notice.payload)))
      }),
    ).pipe(
      Effect.tapError((error) => Effect.logWarning("Lost the connection that hears of runs on other nodes", error)),
      Effect.retry(untilReconnected),
      Effect.forkScoped,
    )

    const mark = (change: () => void) =>
      Effect.suspend(() => {
        change()
        return Effect.asVoid(Queue.offer(due, undefined))
      })
    yield* hub.attach({
      wake: mark(() => {
        wake = true
      }),
      cancel: (node, runId) => mark(() => cancel.push([node, runId])),
      news: (runId) => mark(() => news.add(runId)),
    })
  }),
)

export const RunNotices = { layer }
