import { Effect, Metric, type Scope } from "effect"

/** A metric that is read when somebody asks for it, so that it costs nothing otherwise. It exists while the scope lasts. */
export const observed = <State>(
  metric: Metric.Metric<number, State>,
  read: () => State,
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.map(Effect.context<never>(), (context) =>
      Metric.registerUnsafe(metric, context, { get: read, update: () => {}, modify: () => {} }),
    ),
    (registration) => Effect.sync(registration.remove),
  )
