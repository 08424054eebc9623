import type { Answer, Payload, Query } from "../http/Plain.ts"
import type { CallOptions, Transport } from "../http/Transport.ts"
import { type FollowOptions, followRun, type RunUpdate } from "./RunFollow.ts"

export type Run = Answer<"runs", "get">

/** `client.runs` */
export class Runs {
  readonly #transport: Transport
  constructor(transport: Transport) {
    this.#transport = transport
  }

  list(query: Query<"runs", "list"> = {}, call?: CallOptions): Promise<Answer<"runs", "list">> {
    return this.#transport.json("runs", "list", { query }, call)
  }

  /**
   * Submits a run. Once this resolves the run is durable. A lost answer is asked for again under the same
   * `idempotencyKey` (made here unless given), so that one call makes one run.
   */
  create(
    payload: Payload<"runs", "create">,
    call: CallOptions & { readonly idempotencyKey?: string } = {},
  ): Promise<Answer<"runs", "create">> {
    const headers = { "idempotency-key": call.idempotencyKey ?? crypto.randomUUID() }
    return this.#transport.json("runs", "create", { payload, headers }, call)
  }

  get(runId: string, call?: CallOptions): Promise<Run> {
    return this.#transport.json("runs", "get", { params: { runId } }, call)
  }

  /** Rejects with `ConflictError` when the run has ended. */
  cancel(runId: string, call?: CallOptions): Promise<Answer<"runs", "cancel">> {
    return this.#transport.json("runs", "cancel", { params: { runId } }, call)
  }

  /** All log lines so far; with `attempt` only those of one attempt. */
  logs(
    runId: string,
    call: CallOptions & { readonly attempt?: number | undefined } = {},
  ): Promise<Answer<"runs", "logs">> {
    const query = call.attempt === undefined ? {} : { attempt: call.attempt }
    return this.#transport.json("runs", "logs", { params: { runId }, query }, call)
  }

  /** Every attempt of a run, oldest first. */
  attempts(runId: string, call?: CallOptions): Promise<Answer<"runs", "attempts">> {
    return this.#transport.json("runs", "attempts", { params: { runId } }, call)
  }

  /**
   * Runs an ended run again, from the beginning, with its code, inputs, parameters and logical time. Rejects with
   * `ConflictError` while it is active. Like `create`, one call makes one run.
   */
  retry(
    runId: string,
    call: CallOptions & { readonly idempotencyKey?: string } = {},
  ): Promise<Answer<"runs", "retry">> {
    const headers = { "idempotency-key": call.idempotencyKey ?? crypto.randomUUID() }
    return this.#transport.json("runs", "retry", { params: { runId }, headers }, call)
  }

  /** Goes on with a failed or cancelled run where its last attempt stopped; `ConflictError` when it left nothing. */
  resume(
    runId: string,
    call: CallOptions & { readonly idempotencyKey?: string } = {},
  ): Promise<Answer<"runs", "resume">> {
    const headers = { "idempotency-key": call.idempotencyKey ?? crypto.randomUUID() }
    return this.#transport.json("runs", "resume", { params: { runId }, headers }, call)
  }

  /** Outcomes of the run's quality tests. */
  quality(runId: string, call?: CallOptions): Promise<Answer<"runs", "quality">> {
    return this.#transport.json("runs", "quality", { params: { runId } }, call)
  }

  /** Log lines and status changes as they happen, until the run has ended. Survives lost connections. */
  follow(runId: string, options?: FollowOptions): AsyncGenerator<RunUpdate, void, undefined> {
    return followRun(this.#transport, runId, options)
  }

  /** The run once it has ended, whatever its result. */
  async wait(runId: string, options?: FollowOptions): Promise<Run> {
    for await (const _ of this.follow(runId, options)) {
      // Only the end matters.
    }
    return this.get(runId, { signal: options?.signal })
  }
}
