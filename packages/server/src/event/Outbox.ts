import type { Event } from "@rat/domain"
import { Context, Effect, Layer, Queue, type Schema } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { toJsonb } from "../sql/Jsonb.ts"

export interface OutboxEvent {
  readonly key: string
  readonly type: Event["type"]
  readonly namespace: string
  readonly payload: Schema.Json
}

/**
 * Where events begin: rows that commit together with the change they tell of. Append after the guarded update of the
 * row that the key stands for: its lock is what puts the events of one key in the order of their changes.
 */
export class Outbox extends Context.Service<
  Outbox,
  {
    /** Joins the caller's transaction, if any, and wakes the relay when that has committed. */
    readonly append: (events: ReadonlyArray<OutboxEvent>) => Effect.Effect<void, SqlError.SqlError>
    /** For statements that insert into `outbox` themselves: wakes the relay, after the surrounding commit if any. */
    readonly wake: Effect.Effect<void>
    /** Waits until the relay is needed; wakes since the last wait count as one. For the relay only. */
    readonly woken: Effect.Effect<void>
  }
>()("rat/server/event/Outbox") {
  static readonly layer = Layer.effect(
    Outbox,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const wakes = yield* Queue.sliding<void>(1)
      const wake = sql.afterCommit(Effect.asVoid(Queue.offer(wakes, undefined)))
      const append = Effect.fn("Outbox.append")(function* (events: ReadonlyArray<OutboxEvent>) {
        if (events.length === 0) return
        yield* sql`
          insert into outbox (key, type, namespace, payload)
          select event->>'key', event->>'type', event->>'namespace', event->'payload'
          from jsonb_array_elements(${toJsonb(events)}::jsonb) with ordinality as e (event, place)
          order by place`
        yield* wake
      })
      return Outbox.of({ append, wake, woken: Queue.take(wakes) })
    }),
  )
}
