import {
  AuthenticationError,
  AuthorizationError,
  ConflictError,
  ConnectionError,
  NotFoundError,
  RatError,
  RateLimitError,
  ServerError,
  TimeoutError,
} from "@rat/client"
import { Data } from "effect"
import { ExitCode } from "./ExitCode.ts"

/** The end of a command that did not do what was asked. */
export class CliFailure extends Data.TaggedError("CliFailure")<{
  /** What happened and where. Printed on stderr behind `rat: `. */
  readonly message: string
  /** What to do now: the last line that is printed. */
  readonly next?: string | undefined
  readonly exitCode: ExitCode
}> {}

const exitCodeOf = (error: RatError): ExitCode => {
  if (error instanceof ConnectionError || error instanceof TimeoutError || error.status === 503) {
    return ExitCode.unreachable
  }
  if (error instanceof NotFoundError) return ExitCode.notFound
  if (error instanceof AuthenticationError || error instanceof AuthorizationError) return ExitCode.notAllowed
  if (error instanceof ConflictError || error instanceof RateLimitError) return ExitCode.refused
  return ExitCode.failed
}

const nextOf = (error: RatError): string | undefined => {
  if (error instanceof ConnectionError) {
    return "Start a server with `rat up`, or say where it is with --url or RAT_URL."
  }
  if (error instanceof TimeoutError && error.status === 0) return "Allow more time with --timeout, or see `rat status`."
  if (error instanceof RateLimitError) {
    return error.retryAfter === null ? "Try again later." : `Try again in ${error.retryAfter} s.`
  }
  if (error instanceof ServerError) {
    return error.requestId === undefined
      ? "See `rat status`, and the server's log."
      : `See \`rat status\`, and the server's log for request ${error.requestId}.`
  }
  return undefined
}

/** Any rejection of the client as a failure of the command. Other errors are defects and stay as they are. */
export const failureOf = (error: unknown): CliFailure => {
  if (error instanceof CliFailure) return error
  if (error instanceof RatError) {
    return new CliFailure({ message: error.message, next: nextOf(error), exitCode: exitCodeOf(error) })
  }
  throw error
}
