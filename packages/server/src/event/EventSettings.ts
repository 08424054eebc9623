import { Config } from "effect"

/** Limits of the event log that a person may set. */
export const EventSettings = Config.all({
  /** Older events are pruned, whether or not every consumer has seen them. */
  maxAgeDays: Config.Int("RAT_EVENTS_MAX_AGE_DAYS").pipe(Config.withDefault(7)),
})
