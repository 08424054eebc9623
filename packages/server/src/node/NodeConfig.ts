import { Role } from "@rat/domain"
import { parseBytes } from "@rat/lakehouse"
import { Config, ConfigProvider, Effect, Schema } from "effect"
import { settings } from "./Settings.ts"

/** What a caller of `startNode` may set; each wins over its environment variable. */
export interface NodeOptions {
  /** Data folder. */
  readonly data?: string | undefined
  /** `HOST:PORT`, `:PORT` or `PORT`. */
  readonly listen?: string | undefined
  /** Roles of a node of a cluster, separated by commas. Absent: a node that is alone and has all of them. */
  readonly roles?: string | undefined
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

/** How other nodes reach this one. */
export interface RpcSettings {
  readonly listen: ListenAddress
  /** Host that others are told; null: the one that is listened at. */
  readonly advertise: string | null
}

export interface NodeSettings {
  readonly data: string
  readonly listen: ListenAddress
  readonly roles: ReadonlyArray<Role>
  /** Null for a node that is alone. */
  readonly rpc: RpcSettings | null
  /** How long a node that stops goes on serving after it said so, for load balancers to notice. */
  readonly drainNoticeMs: number
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

/** `api,control`: each role once, in any order. */
const parseRoles = (text: string): ReadonlyArray<Role> | null => {
  const names = text.split(",").map((name) => name.trim())
  const roles = Role.literals.filter((role) => names.includes(role))
  return roles.length === names.length ? roles : null
}

const naturalNumber = (text: string) => (/^\d+$/.test(text.trim()) ? Number(text) : null)
const anything = (text: string) => text

/** Settings of the node itself; those of its rooms are read where they are used. */
export const nodeSettings: Effect.Effect<NodeSettings, SettingInvalid> = Effect.gen(function* () {
  const port = yield* parsed("PORT", "", anything, "")
  const everywhere = port.trim() === "" ? "127.0.0.1:8080" : `0.0.0.0:${port.trim()}`
  const rolesText = yield* parsed("RAT_ROLES", "", anything, "")
  const isAlone = rolesText.trim() === ""
  const database = yield* parsed("DATABASE_URL", "", anything, "")
  if (!isAlone && database.trim() === "") {
    return yield* new SettingInvalid({
      name: "DATABASE_URL",
      reason:
        "it is not set. Nodes of a cluster find each other in the Postgres that they share: DATABASE_URL=postgres://user:password@host/database. `rat up` starts one process that needs none.",
    })
  }
  const store = yield* parsed("RAT_STORE", "", anything, "")
  const s3 = (yield* parsed("S3_ENDPOINT", "", anything, "")) + (yield* parsed("S3_BUCKET", "", anything, ""))
  if (!isAlone && store.trim() === "" && s3.trim() === "") {
    return yield* new SettingInvalid({
      name: "RAT_STORE",
      reason:
        "it is not set, and neither is S3_BUCKET. Nodes of a cluster share their objects: name a bucket, or a folder that all of them see.",
    })
  }
  const rpcHost = yield* parsed("RAT_RPC_ADVERTISE", "", anything, "")
  return {
    roles: isAlone
      ? Role.literals
      : yield* parsed("RAT_ROLES", "", parseRoles, `a list of roles such as ${Role.literals.join(",")}`),
    rpc: isAlone
      ? null
      : {
          listen: yield* parsed("RAT_RPC_ADDR", "127.0.0.1:0", parseListen, "an address such as 0.0.0.0:7350"),
          advertise: rpcHost.trim() === "" ? null : rpcHost.trim(),
        },
    drainNoticeMs: isAlone
      ? 0
      : 1000 * (yield* parsed("RAT_DRAIN_NOTICE_SECONDS", "2", naturalNumber, "a number of seconds")),
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
    // Nobody joins a node by an accident of its environment: `rat up` says nothing of roles.
    RAT_ROLES: options.roles ?? "",
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
