import { Deferred, Effect, Exit, Option, Queue, type Tracer } from "effect"
import type { SqlError } from "effect/sql"
import { isPostgresOutage } from "./PostgresOutage.ts"

interface Waiting<A, B, E> {
  readonly item: A
  readonly span: Option.Option<Tracer.AnySpan>
  readonly answer: Deferred.Deferred<B, E | SqlError.SqlError>
}

/**
 * Calls that wait for the database while a statement is on its way go together into the next one. A lone call is not
 * delayed; under load the cost of a round trip and of a commit is shared. The answers of `run` are in the order of its
 * items. When a group fails for a reason other than a lost connection, nothing of it was kept, and each item is tried
 * alone, so that one bad item fails only itself. Items never join a transaction of their caller.
 */
export const makeGroupCommit = <A, B, E = never>(options: {
  /** Name of the span around each statement. */
  readonly name: string
  /** Most items of one statement. */
  readonly maxItems: number
  /** Statements on their way at the same time. With one, items are accepted strictly one group after the other. */
  readonly flights: number
  readonly run: (items: ReadonlyArray<A>) => Effect.Effect<ReadonlyArray<Exit.Exit<B, E>>, SqlError.SqlError>
}) =>
  Effect.gen(function* () {
    const queue = yield* Queue.bounded<Waiting<A, B, E>>(options.maxItems * 16)

    const runGroup = (group: ReadonlyArray<Waiting<A, B, E>>): Effect.Effect<void> => {
      const spans = group.flatMap((waiting) => Option.toArray(waiting.span))
      return options.run(group.map((waiting) => waiting.item)).pipe(
        Effect.withSpan(options.name, {
          attributes: { "group.items": group.length },
          ...(spans[0] === undefined ? { root: true } : { parent: spans[0] }),
          links: spans.slice(1).map((span) => ({ span, attributes: {} })),
        }),
        Effect.exit,
        Effect.flatMap((exit): Effect.Effect<void> => {
          if (Exit.isFailure(exit)) {
            const error = Exit.findErrorOption(exit)
            const isOutage = Option.isSome(error) && isPostgresOutage(error.value)
            if (group.length > 1 && Option.isSome(error) && !isOutage) {
              return Effect.forEach(group, (waiting) => runGroup([waiting]), { discard: true })
            }
          }
          return Effect.sync(() => {
            for (const [index, waiting] of group.entries()) {
              if (Exit.isSuccess(exit)) Deferred.doneUnsafe(waiting.answer, exit.value[index]!)
              else Deferred.doneUnsafe(waiting.answer, Exit.failCause(exit.cause))
            }
          })
        }),
      )
    }

    yield* Queue.takeBetween(queue, 1, options.maxItems).pipe(
      Effect.flatMap(runGroup),
      Effect.forever,
      Effect.replicateEffect(options.flights, { concurrency: "unbounded", discard: true }),
      Effect.forkScoped,
    )

    return Effect.fnUntraced(function* (item: A) {
      const span = yield* Effect.option(Effect.currentParentSpan)
      const answer = yield* Deferred.make<B, E | SqlError.SqlError>()
      yield* Queue.offer(queue, { item, span, answer })
      return yield* Deferred.await(answer)
    })
  })
