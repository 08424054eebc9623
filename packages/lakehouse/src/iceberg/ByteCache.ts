import { Deferred, Effect, Exit } from "effect"

/**
 * Parsed immutable files by their location. Bounded by count and by the memory that they take (as their reader estimates it); the
 * least recently used go first. Several who want a file that is not there wait for one reading of it; a failure
 * is not kept.
 */
export class ByteCache<A, E> {
  readonly #entries = new Map<string, { readonly value: A; readonly bytes: number }>()
  readonly #reading = new Map<string, Deferred.Deferred<A, E>>()
  readonly #maxEntries: number
  readonly #maxBytes: number
  #bytes = 0

  constructor(limits: { readonly entries: number; readonly bytes: number }) {
    this.#maxEntries = limits.entries
    this.#maxBytes = limits.bytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** `read` gives the value and how many bytes of memory it takes. */
  get<R>(
    location: string,
    read: Effect.Effect<{ readonly value: A; readonly bytes: number }, E, R>,
  ): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      const entry = this.#entries.get(location)
      if (entry === undefined) return this.#readOnce(location, read)
      this.#entries.delete(location) // to the end
      this.#entries.set(location, entry)
      return Effect.succeed(entry.value)
    })
  }

  /** A value larger than the whole cache is not kept. */
  set(location: string, value: A, bytes: number): void {
    const before = this.#entries.get(location)
    if (before !== undefined) this.#remove(location, before.bytes)
    if (bytes > this.#maxBytes) return
    this.#entries.set(location, { value, bytes })
    this.#bytes += bytes
    for (const [oldest, entry] of this.#entries) {
      if (this.#entries.size <= this.#maxEntries && this.#bytes <= this.#maxBytes) return
      this.#remove(oldest, entry.bytes)
    }
  }

  #remove(location: string, bytes: number): void {
    this.#entries.delete(location)
    this.#bytes -= bytes
  }

  /** The reading goes on when the first who asked for it is interrupted: others may wait for it. */
  #readOnce<R>(
    location: string,
    read: Effect.Effect<{ readonly value: A; readonly bytes: number }, E, R>,
  ): Effect.Effect<A, E, R> {
    const running = this.#reading.get(location)
    if (running !== undefined) return Deferred.await(running)
    return Effect.uninterruptibleMask((restore) => {
      const reading = Deferred.makeUnsafe<A, E>()
      this.#reading.set(location, reading)
      const done = Effect.onExit(read, (exit) =>
        Effect.sync(() => {
          this.#reading.delete(location)
          if (Exit.isSuccess(exit)) this.set(location, exit.value.value, exit.value.bytes)
          Deferred.doneUnsafe(
            reading,
            Exit.map(exit, ({ value }) => value),
          )
        }),
      )
      return Effect.andThen(Effect.forkDetach(done), restore(Deferred.await(reading)))
    })
  }
}
