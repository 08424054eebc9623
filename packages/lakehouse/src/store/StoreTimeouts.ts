import { Duration } from "effect"

/** Deadlines of one try. */
export interface StoreTimeouts {
  /** Calls that carry no bytes of objects: head, list, remove, probes. */
  readonly metadata: Duration.Duration
  /** Calls that carry bytes: an object, or one part of a large one. */
  readonly data: Duration.Duration
}

export const defaultTimeouts: StoreTimeouts = { metadata: Duration.seconds(10), data: Duration.seconds(60) }
