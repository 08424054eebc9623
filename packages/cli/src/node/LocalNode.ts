import { RatClient } from "@rat/client"
import { Effect, Option } from "effect"
import { Flag } from "effect/cli"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"

export const dataFlag = Flag.String("data").pipe(
  Flag.withMetavar("DIR"),
  Flag.optional,
  Flag.withDescription("Folder for everything that is kept (RAT_DATA; default ./.rat)"),
)

export const listenFlag = Flag.String("listen").pipe(
  Flag.withMetavar("ADDR"),
  Flag.optional,
  Flag.withDescription("HOST:PORT of the server; port 0 takes a free one (RAT_LISTEN_ADDR; default 127.0.0.1:8080)"),
)

/** A server that runs in this process. */
export interface LocalNode {
  readonly url: string
  readonly dataFolder: string
}

/** Variables of the command line, which are no settings of a server. */
const commandLineVariables = new Set(["RAT_URL", "RAT_NAMESPACE"])

/** Errors that say that somebody else has what this server needs. */
const conflicts = new Set(["AddressInUse", "DataFolderInUse"])

/**
 * Starts the whole platform in this process; it stops with the scope. The server's code is loaded here and not before:
 * commands that only talk to one start without it.
 */
export const startLocalNode = Effect.fnUntraced(function* (choice: {
  readonly data: Option.Option<string>
  readonly listen: Option.Option<string>
}) {
  const { startNode } = yield* Effect.promise(() => import("@rat/server"))
  const environment = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !commandLineVariables.has(name)),
  )
  const node = yield* startNode({
    data: Option.getOrUndefined(choice.data),
    listen: Option.getOrUndefined(choice.listen),
    environment,
  }).pipe(
    Effect.mapError(
      (error) =>
        new CliFailure({
          message: error.message,
          exitCode: conflicts.has(error._tag) ? ExitCode.refused : ExitCode.failed,
        }),
    ),
  )
  return { url: node.url, dataFolder: node.dataFolder } satisfies LocalNode
})

/** Version of the RAT server that answers at `url`; undefined when nothing or something else does. */
export const serverAt = (url: string): Effect.Effect<string | undefined> =>
  Effect.promise(async () => {
    try {
      const { version } = await new RatClient({ apiUrl: url, timeoutMs: 2000, maxRetries: 0 }).health.live()
      return typeof version === "string" ? version : undefined
    } catch {
      return undefined
    }
  })

/** The address that a client on this machine uses for a `--listen` value. */
export const urlOfListen = (listen: Option.Option<string>): string => {
  const text = Option.getOrUndefined(listen) ?? process.env.RAT_LISTEN_ADDR ?? "127.0.0.1:8080"
  const port = /(\d+)$/.exec(text)?.[1] ?? "8080"
  const host = text.slice(0, -port.length).replace(/:$/, "")
  const reachable = host === "" || host === "0.0.0.0" ? "127.0.0.1" : host === "[::]" ? "[::1]" : host
  return `http://${reachable}:${port}`
}
