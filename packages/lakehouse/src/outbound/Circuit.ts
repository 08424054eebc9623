/** closed: calls go through. open: they are refused. half_open: one call at a time finds out whether they would work. */
export type CircuitState = "closed" | "open" | "half_open"

export interface CircuitLimits {
  readonly failuresToOpen: number
  readonly openForMs: number
  readonly maxOpenForMs: number
  /**
   * `caller`: the first call after the wait is the probe. `own`: no call is; somebody else asks whether the dependency is
   * back (`startProbe`), so that one call which takes long cannot hold up all others.
   */
  readonly probe: "caller" | "own"
}

/** A call that may go ahead. Its outcome goes back with it: outcomes of calls from before the last change are ignored. */
export interface Admission {
  readonly generation: number
}

/**
 * A circuit breaker of this process, without any effect: asking costs nanoseconds, because every SQL statement asks.
 * Invariants: while closed, fewer than `failuresToOpen` calls in a row have failed; while half open, at most one call is on
 * its way; each failed probe doubles the wait up to `maxOpenForMs`.
 */
export class Circuit {
  private readonly limits: CircuitLimits
  private readonly changed: (state: CircuitState, from: CircuitState) => void
  private current: CircuitState = "closed"
  private failures = 0
  private openings = 0
  private openUntilMs = 0
  private probing = false
  private admission: Admission = { generation: 0 }
  /** What the last failure was, as a sentence. */
  lastFailure = "no answer."

  constructor(limits: CircuitLimits, changed: (state: CircuitState, from: CircuitState) => void) {
    this.limits = limits
    this.changed = changed
  }

  get state(): CircuitState {
    return this.current
  }

  private move(to: CircuitState): void {
    const from = this.current
    this.current = to
    this.probing = false
    this.admission = { generation: this.admission.generation + 1 }
    this.changed(to, from)
  }

  /** Nothing while the circuit refuses. */
  admit(nowMs: number): Admission | undefined {
    if (this.current === "closed") return this.admission
    return this.limits.probe === "caller" ? this.startProbe(nowMs) : undefined
  }

  /** An admission for the one call that finds out, when it is time and nobody else does. */
  startProbe(nowMs: number): Admission | undefined {
    if (this.current === "open" && nowMs >= this.openUntilMs) this.move("half_open")
    if (this.current !== "half_open" || this.probing) return undefined
    this.probing = true
    return this.admission
  }

  /** Milliseconds until the next probe; 0 when one is due or on its way. */
  waitMs(nowMs: number): number {
    return this.current === "open" ? Math.max(0, this.openUntilMs - nowMs) : 0
  }

  succeed(admission: Admission): void {
    if (admission !== this.admission) return
    this.failures = 0
    if (this.current === "closed") return
    this.openings = 0
    this.move("closed")
  }

  fail(admission: Admission, nowMs: number, reason: string): void {
    if (admission !== this.admission) return
    this.lastFailure = reason
    this.failures += 1
    if (this.current === "closed" && this.failures < this.limits.failuresToOpen) return
    this.openUntilMs = nowMs + Math.min(this.limits.openForMs * 2 ** this.openings, this.limits.maxOpenForMs)
    this.openings += 1
    this.move("open")
  }

  /** Opens a closed circuit at once: somebody asked, and nobody is there. */
  trip(nowMs: number, reason: string): void {
    if (this.current !== "closed") return
    this.failures = this.limits.failuresToOpen
    this.fail(this.admission, nowMs, reason)
  }

  /** The call said nothing about the dependency: interrupted, or refused for a reason of its own. */
  ignore(admission: Admission): void {
    if (admission === this.admission) this.probing = false
  }
}
