import type { Event } from "@rat/domain"
import { Effect, Queue } from "effect"

/** Which events somebody wants. Absent fields don't restrict. */
export interface EventFilter {
  readonly key?: string
  readonly namespace?: string
  readonly types?: ReadonlyArray<Event["type"]>
}

export const matchesFilter = (filter: EventFilter, event: Event): boolean =>
  (filter.key === undefined || filter.key === event.key) &&
  (filter.namespace === undefined || filter.namespace === event.namespace) &&
  (filter.types === undefined || filter.types.includes(event.type))

/** Events that a slow subscriber may have waiting in memory; what does not fit it reads from the log. */
const maxWaiting = 1024

/**
 * Hears of everything that this node hands out, before any subscriber and synchronously: what it does is done when a
 * subscriber sees the event.
 */
export interface EventListener {
  /** Continue behind what was heard before. */
  readonly events: (events: ReadonlyArray<Event>) => void
  /** Events up to this offset were removed before this node saw them. */
  readonly skipped: (upTo: bigint) => void
}

export interface Subscriber {
  readonly filter: EventFilter
  readonly queue: Queue.Queue<Event>
  /** Events did not fit: the log has them. */
  isBehind: boolean
}

/**
 * Hands this node's live events to its subscribers. `position` is the offset of the last event handed out; it and the
 * queues move together, synchronously, which is what lets a subscriber switch between log and queue without a gap.
 */
export class EventHub {
  position: bigint
  readonly #byKey = new Map<string, Set<Subscriber>>()
  readonly #others = new Set<Subscriber>()
  readonly listeners = new Set<EventListener>()

  constructor(position: bigint) {
    this.position = position
  }

  /** `events` continue after `position`, without a gap. */
  publish(events: ReadonlyArray<Event>): void {
    for (const event of events) {
      if (event.offset !== this.position + 1n) {
        throw new Error(`Event ${event.offset} does not follow ${this.position}`)
      }
      this.position = event.offset
    }
    for (const listener of this.listeners) listener.events(events)
    for (const event of events) {
      for (const subscriber of this.#byKey.get(event.key) ?? []) this.#offer(subscriber, event)
      for (const subscriber of this.#others) this.#offer(subscriber, event)
    }
  }

  /** Events up to `position` are not handed out: they are gone (pruned), or nobody here was listening. Everybody continues there. */
  skipTo(position: bigint): void {
    this.position = position
    for (const listener of this.listeners) listener.skipped(position)
  }

  /** Whether nobody on this node wants to know of events. */
  get isUnheard(): boolean {
    return this.listeners.size === 0 && this.#others.size === 0 && this.#byKey.size === 0
  }

  readonly subscribe = (filter: EventFilter): Effect.Effect<Subscriber> =>
    Effect.map(Queue.dropping<Event>(maxWaiting), (queue) => {
      const subscriber: Subscriber = { filter, queue, isBehind: false }
      this.#add(subscriber)
      return subscriber
    })

  #add(subscriber: Subscriber): void {
    const { filter } = subscriber
    if (filter.key === undefined) this.#others.add(subscriber)
    else {
      const same = this.#byKey.get(filter.key)
      if (same === undefined) this.#byKey.set(filter.key, new Set([subscriber]))
      else same.add(subscriber)
    }
  }

  unsubscribe(subscriber: Subscriber): void {
    const { key } = subscriber.filter
    if (key === undefined) this.#others.delete(subscriber)
    else {
      const same = this.#byKey.get(key)
      same?.delete(subscriber)
      if (same?.size === 0) this.#byKey.delete(key)
    }
    Queue.shutdownUnsafe(subscriber.queue)
  }

  #offer(subscriber: Subscriber, event: Event): void {
    if (!matchesFilter(subscriber.filter, event)) return
    if (!Queue.offerUnsafe(subscriber.queue, event)) subscriber.isBehind = true
  }
}
