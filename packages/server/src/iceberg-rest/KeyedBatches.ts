import { type Cause, Deferred, Effect, Exit } from "effect"

interface Waiting<I, A, E> {
  readonly item: I
  readonly answer: Deferred.Deferred<A, E>
}

/**
 * Items of one key that arrive while others of it are being worked on go together into the next batch, in the order of arrival.
 * A lone item is not delayed. An item goes on when whoever asked for it stops waiting.
 */
export class KeyedBatches<I, A, E> {
  readonly #waiting = new Map<string, Array<Waiting<I, A, E>>>()
  readonly #maxItems: number
  readonly #run: (key: string, items: ReadonlyArray<I>) => Effect.Effect<ReadonlyArray<Exit.Exit<A, E>>>

  /** `run` answers in the order of its items. */
  constructor(
    maxItems: number,
    run: (key: string, items: ReadonlyArray<I>) => Effect.Effect<ReadonlyArray<Exit.Exit<A, E>>>,
  ) {
    this.#maxItems = maxItems
    this.#run = run
  }

  add(key: string, item: I): Effect.Effect<A, E> {
    return Effect.gen({ self: this }, function* () {
      const answer = yield* Deferred.make<A, E>()
      const others = this.#waiting.get(key)
      if (others !== undefined) others.push({ item, answer })
      else {
        this.#waiting.set(key, [{ item, answer }])
        yield* Effect.forkDetach(this.#drain(key))
      }
      return yield* Deferred.await(answer)
    })
  }

  /** The key's queue is there as long as somebody works on it. */
  #drain(key: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      const batch = this.#waiting.get(key)!.splice(0, this.#maxItems)
      if (batch.length === 0) {
        this.#waiting.delete(key)
        return Effect.void
      }
      const items = batch.map(({ item }) => item)
      return this.#run(key, items).pipe(
        Effect.catchCause((cause) => Effect.succeed(batch.map(() => Exit.failCause(cause as Cause.Cause<never>)))),
        Effect.tap((exits) =>
          Effect.forEach(batch, ({ answer }, index) => Deferred.done(answer, exits[index]!), { discard: true }),
        ),
        Effect.andThen(this.#drain(key)),
      )
    })
  }
}
