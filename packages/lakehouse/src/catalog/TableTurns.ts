import { Effect, Semaphore } from "effect"

/** Writers of a table in this process, one at a time in the order of arrival. Tables that nobody waits for take no room. */
export class TableTurns {
  readonly #turns = new Map<string, { readonly semaphore: Semaphore.Semaphore; users: number }>()

  /** Waits for all of the tables in the order of their names, so that two who want the same ones never wait for each other. */
  holding<A, E, R>(tables: ReadonlyArray<string>, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return [...new Set(tables)].sort().reduceRight((inner, table) => this.#holdingOne(table, inner), effect)
  }

  #holdingOne<A, E, R>(table: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.acquireUseRelease(
      Effect.sync(() => {
        const turn = this.#turns.get(table) ?? { semaphore: Semaphore.makeUnsafe(1), users: 0 }
        turn.users++
        this.#turns.set(table, turn)
        return turn
      }),
      (turn) => turn.semaphore.withPermit(effect),
      (turn) =>
        Effect.sync(() => {
          if (--turn.users === 0) this.#turns.delete(table)
        }),
    )
  }
}
