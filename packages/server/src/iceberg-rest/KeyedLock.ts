import { Effect, Semaphore } from "effect"

/** One holder a key at a time, the others in the order of arrival. Keys that nobody wants take no room. */
export class KeyedLock {
  readonly #locks = new Map<string, { readonly semaphore: Semaphore.Semaphore; users: number }>()

  /** Takes the locks in the keys' order, so that two who want the same ones never wait for each other. */
  holding<A, E, R>(keys: ReadonlyArray<string>, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return [...new Set(keys)].sort().reduceRight((inner, key) => this.#holdingOne(key, inner), effect)
  }

  #holdingOne<A, E, R>(key: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.acquireUseRelease(
      Effect.sync(() => {
        const lock = this.#locks.get(key) ?? { semaphore: Semaphore.makeUnsafe(1), users: 0 }
        lock.users++
        this.#locks.set(key, lock)
        return lock
      }),
      (lock) => lock.semaphore.withPermit(effect),
      (lock) =>
        Effect.sync(() => {
          if (--lock.users === 0) this.#locks.delete(key)
        }),
    )
  }
}
