import { Schedule } from "effect"

/**
 * For loops that have to go on for as long as the node lives (listeners, relays, consumers): soon, then once a second,
 * with jitter. Never slower, because service has to be back within two seconds of the dependency, and one connection a
 * second costs nothing.
 */
export const untilReconnected = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]).pipe(
  Schedule.jittered,
)
