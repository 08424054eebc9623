import { hostname } from "node:os"
import { RatClient } from "@rat/client"
import { ConfigProvider, Effect, Layer, Option } from "effect"
import { Flag } from "effect/cli"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { ratVersion } from "../Version.ts"

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

export const logFormatFlag = Flag.Literals("log-format", ["pretty", "json"]).pipe(
  Flag.optional,
  Flag.withDescription("How the server's log is written to stderr (RAT_LOG_FORMAT; pretty on a terminal, else json)"),
)

export const logLevelFlag = Flag.Literals("log-level", ["debug", "info", "warn", "error"]).pipe(
  Flag.optional,
  Flag.withDescription("The least that the server's log says (RAT_LOG_LEVEL; warn on a terminal, else info)"),
)

export interface LocalNodeChoice {
  readonly data: Option.Option<string>
  readonly listen: Option.Option<string>
  /** Of a node of a cluster; absent for one that is alone. */
  readonly roles?: string
  readonly logFormat?: Option.Option<"pretty" | "json">
  readonly logLevel?: Option.Option<"debug" | "info" | "warn" | "error">
}

/** A server that runs in this process. */
export interface LocalNode {
  readonly url: string
  readonly dataFolder: string
}

/** For commands whose own words matter more than the server's log: only what is wrong, unless the person asked. */
export const quietLog = (): Option.Option<"warn"> =>
  process.env.RAT_LOG_LEVEL === undefined ? Option.some("warn") : Option.none()

/** Variables of the command line, which are no settings of a server. */
const commandLineVariables = new Set(["RAT_URL", "RAT_NAMESPACE", "RAT_DEBUG"])

/** Errors that say that somebody else has what this server needs. */
const conflicts = new Set(["AddressInUse", "DataFolderInUse"])

const explained = (error: { readonly _tag: string; readonly message: string }) =>
  new CliFailure({
    message: error.message,
    exitCode: conflicts.has(error._tag) ? ExitCode.refused : ExitCode.failed,
  })

/**
 * Starts the whole platform in this process; it stops with the scope. The server's code is loaded here and not before:
 * commands that only talk to one start without it.
 */
export const startLocalNode = Effect.fnUntraced(function* (choice: LocalNodeChoice) {
  const { nodeConfigProvider, settingErrors, startNode, Telemetry } = yield* Effect.promise(() => import("@rat/server"))
  const environment: Record<string, string | undefined> = { ...process.env }
  for (const name of commandLineVariables) delete environment[name]
  if (choice.logFormat !== undefined && Option.isSome(choice.logFormat)) {
    environment.RAT_LOG_FORMAT = choice.logFormat.value
  }
  if (choice.logLevel !== undefined && Option.isSome(choice.logLevel)) {
    environment.RAT_LOG_LEVEL = choice.logLevel.value
  }
  const options = {
    data: Option.getOrUndefined(choice.data),
    listen: Option.getOrUndefined(choice.listen),
    roles: choice.roles,
    environment,
  }
  // Before the node, so that it closes after it: what a stop logs and measures is sent too.
  const telemetry = yield* Layer.build(
    Telemetry.layer({ version: ratVersion, node: `${hostname()}-${process.pid}` }),
  ).pipe(
    Effect.provideService(ConfigProvider.ConfigProvider, nodeConfigProvider(options)),
    settingErrors,
    Effect.mapError(explained),
  )
  const node = yield* startNode(options).pipe(Effect.provideContext(telemetry), Effect.mapError(explained))
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
