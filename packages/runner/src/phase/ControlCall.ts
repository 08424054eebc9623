import { untilReconnected } from "@rat/lakehouse"
import { Effect, Schema } from "effect"
import type { RpcClientError } from "effect/rpc"

/** The control role could not be reached, or did not manage to answer (its database is away). */
export class ControlUnreachable extends Schema.TaggedError<ControlUnreachable>()("ControlUnreachable", {
  cause: Schema.Defect(),
}) {
  override get message() {
    return "The control role did not answer."
  }
}

/** About ten minutes. While control is away nobody else can take the run either; once it is back, a lease that is lost is said to be. */
const tries = 600

/**
 * A call to control that must arrive. Repeating is safe: control guards every change with the lease. Answers (such as a
 * lost lease) are not repeated.
 */
export const untilReached = <A, E, R>(
  call: Effect.Effect<A, E | RpcClientError.RpcClientError, R>,
): Effect.Effect<A, Exclude<E, RpcClientError.RpcClientError> | ControlUnreachable, R> =>
  call.pipe(
    Effect.catchDefect((cause) => Effect.fail(new ControlUnreachable({ cause }))),
    Effect.catchIf(
      (
        error,
      ): error is Extract<E | RpcClientError.RpcClientError | ControlUnreachable, RpcClientError.RpcClientError> =>
        typeof error === "object" && error !== null && "_tag" in error && error._tag === "RpcClientError",
      (cause) => Effect.fail(new ControlUnreachable({ cause })),
    ),
    Effect.retry({ schedule: untilReconnected, times: tries, while: (error) => error instanceof ControlUnreachable }),
  ) as Effect.Effect<A, Exclude<E, RpcClientError.RpcClientError> | ControlUnreachable, R>
