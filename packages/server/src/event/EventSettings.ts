import { wholeNumber } from "@rat/lakehouse"
import { Config, type Config as ConfigType } from "effect"

/** Limits of the event log that a person may set. */
export const EventSettings = Config.all({
  /** Older events are pruned, whether or not every consumer has seen them. */
  maxAgeDays: Config.Int("RAT_EVENTS_MAX_AGE_DAYS").pipe(Config.withDefault(7)),
  /** Of more events the oldest are pruned. */
  maxRows: wholeNumber("RAT_EVENTS_MAX_ROWS", 10_000_000, 1),
})

export type EventSettings = ConfigType.Success<typeof EventSettings>
