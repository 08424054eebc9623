import { Schedule } from "effect"

/**
 * For work that has to go on until a dependency is back (listeners, relays, consumers, runs that wait): soon, then once a
 * second, with jitter. Never slower, because service has to be back within two seconds of the dependency, and one try a
 * second costs nothing: while the dependency is away its circuit answers. Whoever waits sets the limit.
 */
export const untilReconnected = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]).pipe(
  Schedule.jittered,
)

/** For what Postgres rolled back in favour of another transaction: at most six more tries within about 200 ms. */
export const untilUncontended = Schedule.exponential("2 millis").pipe(Schedule.jittered, Schedule.upTo({ times: 6 }))
