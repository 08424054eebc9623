/** What the error of a try says about the dependency. */
export interface Verdict {
  /** Another try may succeed, and doing it twice is safe. */
  readonly retry: boolean
  /**
   * `up`: it answered, so the circuit counts a success. `down`: it did not, so the circuit counts a failure. `unknown`: it
   * refused for a reason that only somebody else can remove (a wrong password), which must work again the moment that is done.
   */
  readonly health: "up" | "down" | "unknown"
}

export const verdicts = {
  /** No is an answer ("not there"). */
  answer: { retry: false, health: "up" },
  /** It is busy: later. */
  busy: { retry: true, health: "up" },
  refusal: { retry: false, health: "unknown" },
  outage: { retry: true, health: "down" },
  /** As `outage`, for what may have happened and must not happen twice. */
  unsafeOutage: { retry: false, health: "down" },
} as const satisfies Readonly<Record<string, Verdict>>
