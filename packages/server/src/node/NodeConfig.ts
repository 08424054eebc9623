import { parseBytes } from "@rat/lakehouse"
import { Config, ConfigProvider, Effect, Schema } from "effect"
import { settings } from "./Settings.ts"

/** What a caller of `startNode` may set; each wins over its environment variable. */
export interface NodeOptions {
  /** Data folder. */
  readonly data?: string | undefined
  /** `HOST:PORT`, `:PORT` or `PORT`. */
  readonly listen?: string | undefined
  /** Environment to read; default: the process's. */
  readonly environment?: Readonly<Record<string, string | undefined>>
}

/** A setting has a value that cannot be used. Names the setting, the value and what is expected. */
export class SettingInvalid extends Schema.TaggedError<SettingInvalid>()("SettingInvalid", {
  name: Schema.String,
  reason: Schema.String,
}) {
  override get message() {
    const flag = settings.find(({ env }) => env === this.name)?.flag
    return `The setting ${this.name}${flag === undefined ? "" : ` (${flag})`} cannot be used: ${this.reason}`
  }
}

export interface ListenAddress {
  readonly host: string
  readonly port: number
}

/** `HOST:PORT`, `[::1]:PORT`, `:PORT` and `PORT`; null for anything else. A missing host means this machine only. */
export const parseListen = (text: string): ListenAddress | null => {
  const match = /^(?:(\[[0-9a-fA-F:.]+\]|[^:\s]*):)?(\d{1,5})$/.exec(text.trim())
  if (match === null || Number(match[2]) > 65_535) return null
  const host = (match[1] ?? "").replace(/^\[|\]$/g, "")
  return { host: host === "" ? "127.0.0.1" : host, port: Number(match[2]) }
}

export interface NodeSettings {
  readonly data: string
  readonly listen: ListenAddress
  readonly corsOrigins: ReadonlyArray<string>
  readonly uploadLimitBytes: number
  readonly stopGraceMs: number
  readonly gitCommit: string
  readonly buildTime: string
}

/** A parsed setting. Its error names the variable, whatever the parser thinks of the value. */
const parsed = <A>(name: string, fallback: string, parse: (text: string) => A | null, expected: string) =>
  Effect.gen(function* () {
    const text = yield* Config.String(name).pipe(Config.withDefault(fallback), Effect.orDie)
    const value = parse(text)
    return value ?? (yield* new SettingInvalid({ name, reason: `"${text}" is not ${expected}.` }))
  })

const naturalNumber = (text: string) => (/^\d+$/.test(text.trim()) ? Number(text) : null)
const anything = (text: string) => text

/** Settings of the node itself; those of its rooms are read where they are used. */
export const nodeSettings: Effect.Effect<NodeSettings, SettingInvalid> = Effect.gen(function* () {
  const port = yield* parsed("PORT", "", anything, "")
  const everywhere = port.trim() === "" ? "127.0.0.1:8080" : `0.0.0.0:${port.trim()}`
  return {
    data: yield* parsed("RAT_DATA", "./.rat", (text) => (text.trim() === "" ? null : text), "a folder"),
    listen: yield* parsed("RAT_LISTEN_ADDR", everywhere, parseListen, "an address such as 127.0.0.1:8080"),
    corsOrigins: (yield* parsed("CORS_ORIGINS", "http://localhost:3000", anything, ""))
      .split(",")
      .map((origin) => origin.trim())
      .filter((origin) => origin !== ""),
    uploadLimitBytes: yield* parsed("RAT_UPLOAD_LIMIT", "32MiB", parseBytes, "a size such as 32MiB"),
    stopGraceMs: 1000 * (yield* parsed("RAT_STOP_GRACE_SECONDS", "10", naturalNumber, "a number of seconds")),
    gitCommit: yield* parsed("RAT_GIT_COMMIT", "unknown", anything, ""),
    buildTime: yield* parsed("RAT_BUILD_TIME", "unknown", anything, ""),
  }
})

/** Where `Config` reads from: the environment with the options over it. */
export const nodeConfigProvider = (options: NodeOptions): ConfigProvider.ConfigProvider => {
  const environment = options.environment ?? process.env
  const overridden = {
    ...environment,
    ...(options.data === undefined ? {} : { RAT_DATA: options.data }),
    ...(options.listen === undefined ? {} : { RAT_LISTEN_ADDR: options.listen }),
  }
  return ConfigProvider.fromEnv({ env: overridden as Record<string, string> })
}

/** Whether a setting's value must not be printed. */
const isSecret = (name: string): boolean => /SECRET|KEY|TOKEN|URL|PASSWORD|CREDENTIAL/.test(name)

/** Settings that a room read and could not use, in the words of the others. */
export const settingErrors = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
): Effect.Effect<A, Exclude<E, Config.ConfigError> | SettingInvalid, R> =>
  Effect.catchIf(
    effect,
    (error): error is Extract<E, Config.ConfigError> => error instanceof Config.ConfigError,
    (error) => {
      // `SchemaError(Expected a number\n  at [RAT_X])`: the name goes to the front.
      const text = error.message.replace(/^\w*Error\(|\s*at \["\w+"\]|\)$/g, "")
      const name = /\["(\w+)"\]/.exec(error.message)?.[1]
      if (name === undefined || isSecret(name))
        return Effect.fail(new SettingInvalid({ name: name ?? "of the environment", reason: `${text}.` }))
      return Effect.flatMap(Config.String(name).pipe(Config.withDefault(""), Effect.orDie), (value) =>
        Effect.fail(new SettingInvalid({ name, reason: `"${value}" does not fit. ${text}.` })),
      )
    },
  ) as Effect.Effect<A, Exclude<E, Config.ConfigError> | SettingInvalid, R>
