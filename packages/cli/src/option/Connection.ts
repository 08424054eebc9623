import { defaultApiUrl, RatClient } from "@rat/client"
import { Effect, Option } from "effect"
import { Flag } from "effect/cli"
import { CliFailure, failureOf } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { timeoutFlag } from "./Timeout.ts"

/** Where the server is: flag, then RAT_URL, then the default of `rat up`. */
export const urlFlag = Flag.String("url").pipe(
  Flag.withMetavar("URL"),
  Flag.optional,
  Flag.withDescription(`Address of the server (RAT_URL; default ${defaultApiUrl})`),
)

export const connectionFlags = { url: urlFlag, timeout: timeoutFlag("Longest wait for an answer, such as 30s or 2m") }

export interface ConnectionChoice {
  readonly url: Option.Option<string>
  readonly timeout: Option.Option<number>
}

export const apiUrlOf = (url: Option.Option<string>): Effect.Effect<string, CliFailure> => {
  const text = Option.getOrUndefined(url) ?? process.env.RAT_URL ?? defaultApiUrl
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return Effect.succeed(text)
  return Effect.fail(
    new CliFailure({
      message: `"${text}" is not the address of a server.`,
      next: `It looks like ${defaultApiUrl}; see --url and RAT_URL.`,
      exitCode: ExitCode.usage,
    }),
  )
}

export const connect = (choice: ConnectionChoice): Effect.Effect<RatClient, CliFailure> =>
  Effect.map(
    apiUrlOf(choice.url),
    (apiUrl) =>
      new RatClient({
        apiUrl,
        ...(Option.isSome(choice.timeout) ? { timeoutMs: choice.timeout.value } : {}),
        // A person waits: one quick second try for a server that restarts, then say so.
        maxRetries: 1,
        retryDelayMs: 200,
      }),
  )

/** One call of the client; interrupting the command aborts it. */
export const request = <A>(call: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, CliFailure> =>
  Effect.tryPromise({ try: call, catch: failureOf })
