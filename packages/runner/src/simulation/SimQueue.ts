import { strict as assert } from "node:assert"
import { canMove, decideRetry, isTerminal, type Lease, type RunFailure, type RunId, type RunStatus } from "@rat/domain"

/**
 * The rows of runs as the server keeps them, as plain values: what each statement does, in one step. That the real statements do the
 * same is shown in the server (`RunStateMachine.test.ts`, `RunRepository.test.ts`). Invariants are asserted where they could break.
 */

export interface SimRun {
  readonly id: RunId
  /** At most one run of a key is running. */
  readonly key: string | null
  /** What it adds to its table when it is published. */
  readonly amount: number
  status: RunStatus
  attempt: number
  token: bigint
  owner: string | null
  expiresAtMs: number
  /** Not to be claimed before. */
  eligibleAtMs: number
  failures: number
  outages: number
  lost: number
  /** Token of the attempt that ended it. */
  endedBy: bigint | null
  commits: number
  lastLine: number
}

export interface SimLimits {
  readonly leaseMs: number
  readonly maxLost: number
  readonly maxOutageRetries: number
}

export class SimQueue {
  readonly runs = new Map<RunId, SimRun>()
  readonly limits: SimLimits
  /** The table that runs add to. */
  total = 0
  claims = 0
  takenBack = 0
  refused = 0

  /** What did not hold, the first of it: an attempt to whom it is told would only take it for an outage. */
  problem: Error | null = null

  constructor(limits: SimLimits) {
    this.limits = limits
  }

  submit(id: RunId, key: string | null, amount: number): void {
    // Asked again after a lost answer.
    if (this.runs.has(id)) return
    const zero = {
      attempt: 0,
      expiresAtMs: 0,
      eligibleAtMs: 0,
      failures: 0,
      outages: 0,
      lost: 0,
      commits: 0,
      lastLine: 0,
    }
    this.runs.set(id, { id, key, amount, ...zero, status: "queued", token: 0n, owner: null, endedBy: null })
  }

  #must(rule: () => void): void {
    try {
      rule()
    } catch (error) {
      this.problem ??= error as Error
    }
  }

  #move(run: SimRun, to: RunStatus): void {
    const from = run.status
    this.#must(() => assert.ok(canMove(from, to), `run ${run.id}: ${from} -> ${to}`))
    run.status = to
    if (to !== "running") run.owner = null
  }

  #isBusy(key: string | null): boolean {
    return key !== null && Array.from(this.runs.values()).some((run) => run.key === key && run.status === "running")
  }

  claim(node: string, limit: number, nowMs: number): ReadonlyArray<SimRun> {
    const claimed: Array<SimRun> = []
    for (const run of this.runs.values()) {
      if (claimed.length >= limit) break
      if (run.status !== "queued" || run.eligibleAtMs > nowMs || this.#isBusy(run.key)) continue
      this.#move(run, "running")
      run.attempt++
      run.token++
      run.owner = node
      run.expiresAtMs = nowMs + this.limits.leaseMs
      claimed.push(run)
    }
    this.claims += claimed.length
    return claimed
  }

  /** The run, if the lease holds it. */
  held(lease: Lease): SimRun | undefined {
    const run = this.runs.get(lease.runId)
    const isHeld = run !== undefined && run.status === "running" && run.token === lease.fencingToken
    if (!isHeld) this.refused++
    return isHeld ? run : undefined
  }

  renew(leases: ReadonlyArray<Lease>, nowMs: number): ReadonlyArray<RunId> {
    return leases.flatMap((lease) => {
      const run = this.held(lease)
      if (run === undefined) return [lease.runId]
      run.expiresAtMs = nowMs + this.limits.leaseMs
      return []
    })
  }

  release(lease: Lease): void {
    const run = this.held(lease)
    if (run === undefined) return
    this.#move(run, "queued")
    run.attempt--
  }

  /** False when the lease is lost. Repeating the success of the same attempt is none of that. */
  succeed(lease: Lease): boolean {
    const run = this.held(lease)
    if (run === undefined) {
      const ended = this.runs.get(lease.runId)
      return ended?.status === "succeeded" && ended.endedBy === lease.fencingToken
    }
    this.#move(run, "succeeded")
    run.endedBy = lease.fencingToken
    run.commits++
    this.total += run.amount
    return true
  }

  fail(lease: Lease, failure: RunFailure, nowMs: number, random: number): boolean {
    const run = this.held(lease)
    if (run === undefined) {
      const ended = this.runs.get(lease.runId)
      return ended?.endedBy === lease.fencingToken
    }
    const decision = decideRetry(
      { code: failure.code, retryable: failure.retryable, policy: failure.retry },
      run,
      { maxOutageRetries: this.limits.maxOutageRetries },
      random,
    )
    run.endedBy = lease.fencingToken
    if (decision._tag === "Fail") this.#move(run, "failed")
    else {
      this.#move(run, "queued")
      run.eligibleAtMs = nowMs + decision.delayMs
      if (decision.as === "outage") run.outages++
      else run.failures++
    }
    return true
  }

  /** The owner that has to stop, if any; null when the run has ended or waited only. */
  cancel(id: RunId): string | null {
    const run = this.runs.get(id)!
    if (isTerminal(run.status)) return null
    const { owner } = run
    this.#move(run, "cancelled")
    return owner
  }

  #takeBack(run: SimRun): void {
    this.takenBack++
    run.lost++
    this.#move(run, run.lost < this.limits.maxLost ? "queued" : "failed")
  }

  /** Takes back what silent attempts hold; answers with how many. */
  expire(nowMs: number): number {
    const expired = Array.from(this.runs.values()).filter((run) => run.status === "running" && run.expiresAtMs < nowMs)
    for (const run of expired) this.#takeBack(run)
    return expired.length
  }

  /** The same for a node that is known to be gone. */
  expireOwner(owner: string): number {
    const held = Array.from(this.runs.values()).filter((run) => run.owner === owner)
    for (const run of held) this.#takeBack(run)
    return held.length
  }

  /** What must hold at every moment, whatever happened; `problem` says what did not. */
  check(): void {
    this.#must(() => this.#invariants())
  }

  #invariants(): void {
    let published = 0
    const running = new Set<string>()
    for (const run of this.runs.values()) {
      assert.ok(run.commits <= 1, `run ${run.id} was published ${run.commits} times`)
      assert.equal(
        run.commits === 1,
        run.status === "succeeded",
        `run ${run.id}: ${run.status}, ${run.commits} commits`,
      )
      assert.equal(
        run.status === "running",
        run.owner !== null,
        `run ${run.id} is ${run.status} and held by ${run.owner}`,
      )
      assert.ok(BigInt(run.attempt) <= run.token, `run ${run.id}: attempt ${run.attempt}, token ${run.token}`)
      if (run.status === "succeeded") published += run.amount
      if (run.status === "running" && run.key !== null) {
        assert.ok(!running.has(run.key), `two runs of ${run.key} are running`)
        running.add(run.key)
      }
    }
    assert.equal(this.total, published, "the table is not the sum of what succeeded")
  }
}
