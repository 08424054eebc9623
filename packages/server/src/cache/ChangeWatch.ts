import { PgClient } from "@effect/sql-pg"
import type { Event } from "@rat/domain"
import { Context, Deferred, Effect, type Exit, Layer } from "effect"
import type { SqlError } from "effect/sql"
import { EventLog } from "../event/EventLog.ts"
import { Outbox } from "../event/Outbox.ts"
import { type Concern, groupOf } from "./Concern.ts"

/** Changes that are looked at one by one; of more, everything counts as changed. */
const maxLooked = 2000

/** What has been changed and is not on the log of this node yet. */
interface Pending {
  readonly isEverything: boolean
  readonly changes: ReadonlyArray<{ readonly group: string; readonly namespace: string }>
}

/** Namespaces of a group that changed, and the offset of the last change; `""` concerns all namespaces. */
type Offsets = Map<string, bigint>

/**
 * Knows whether something has changed since a moment. What this node has heard it remembers; what it has not heard yet, be
 * it for milliseconds or because its connection is lost, one small statement tells: rows that wait for the relay, and
 * events behind this node's position. Both commit together with the change itself, so the answer is exact: nothing that was
 * committed before the question is missed. Questions that come while one is on its way share the next one.
 */
export class ChangeWatch extends Context.Service<
  ChangeWatch,
  {
    /** Take it before reading: what is read afterwards holds everything up to here. */
    readonly position: () => bigint
    /** By what this node has heard alone. */
    readonly hasHeard: (since: bigint, concerns: ReadonlyArray<Concern>) => boolean
    /** Whether none of it has changed since `since`, a `position`. */
    readonly isUnchanged: (since: bigint, concerns: ReadonlyArray<Concern>) => Effect.Effect<boolean, SqlError.SqlError>
  }
>()("rat/server/cache/ChangeWatch") {
  static readonly layer = Layer.effect(
    ChangeWatch,
    Effect.gen(function* () {
      const sql = yield* PgClient.PgClient
      const log = yield* EventLog
      const outbox = yield* Outbox
      const scope = yield* Effect.scope
      const groups = new Map<string, Offsets>()
      /** Everything that was known before is worth nothing any more. */
      let floor = 0n
      let position = 0n

      const note = ({ namespace, offset, type }: Event) => {
        const group = groupOf(type)
        const offsets = groups.get(group) ?? new Map()
        groups.set(group, offsets)
        offsets.set(namespace, offset)
        // Of the whole group: for those who ask without a namespace.
        offsets.set("*", offset)
      }
      position = yield* log.attach({
        events: (events) => {
          for (const event of events) note(event)
          position = events.at(-1)?.offset ?? position
        },
        skipped: (upTo) => {
          floor = upTo
          position = upTo
        },
      })
      floor = position

      const hasHeard = (since: bigint, concerns: ReadonlyArray<Concern>) => {
        if (since < floor) return true
        return concerns.some(({ group, namespace }) => {
          const offsets = groups.get(group)
          if (offsets === undefined) return false
          if (namespace === undefined) return (offsets.get("*") ?? 0n) > since
          return (offsets.get(namespace) ?? 0n) > since || (offsets.get("") ?? 0n) > since
        })
      }

      const ask = Effect.fn("ChangeWatch.ask", { root: true })(function* () {
        const from = position
        const rows = yield* sql<{
          readonly pruned_to: bigint
          readonly type: string | null
          readonly namespace: string
          readonly many: bigint
          readonly waits: boolean
        }>`
          select h.pruned_to, c.type, c.namespace, c.many, c.waits
          from event_head h
          left join lateral (
            select type, namespace, count(*) as many, bool_or(waits) as waits
            from (
              (select type, namespace, false as waits from event where "offset" > ${from} order by "offset" limit ${maxLooked})
              union all
              (select type, namespace, true from outbox limit ${maxLooked})
            ) as each
            group by type, namespace
          ) c on true`
        const changed = rows.filter((row) => row.type !== null)
        // Normally its writer has woken the relay; of a node that was killed in between, nobody has.
        if (changed.some(({ waits }) => waits)) yield* outbox.wake
        const looked = changed.reduce((sum, { many }) => sum + Number(many), 0)
        const pending: Pending = {
          isEverything: looked >= maxLooked || rows[0]!.pruned_to > from,
          changes: changed.map(({ namespace, type }) => ({ group: groupOf(type!), namespace })),
        }
        return pending
      })

      type Answer = Deferred.Deferred<Pending, SqlError.SqlError>
      let next: Answer | undefined
      let isAsking = false
      const askOn = Effect.gen(function* () {
        while (next !== undefined) {
          const answer = next
          next = undefined
          const exit: Exit.Exit<Pending, SqlError.SqlError> = yield* Effect.exit(ask())
          yield* Deferred.done(answer, exit)
        }
        isAsking = false
      })
      const pending = Effect.suspend(() => {
        next ??= Deferred.makeUnsafe()
        const answer = next
        if (isAsking) return Deferred.await(answer)
        isAsking = true
        return Effect.andThen(Effect.forkIn(askOn, scope, { startImmediately: true }), Deferred.await(answer))
      })

      return ChangeWatch.of({
        position: () => position,
        hasHeard,
        isUnchanged: Effect.fnUntraced(function* (since, concerns) {
          // Nothing changes what depends on nothing.
          if (concerns.length === 0) return true
          if (hasHeard(since, concerns)) return false
          const { changes, isEverything } = yield* pending
          if (isEverything) return false
          const isTouched = concerns.some((concern) =>
            changes.some(
              ({ group, namespace }) =>
                group === concern.group &&
                (concern.namespace === undefined || namespace === "" || namespace === concern.namespace),
            ),
          )
          // What was pending when it was asked may have been heard since, and so be pending no more.
          return !isTouched && !hasHeard(since, concerns)
        }),
      })
    }),
  )
}
