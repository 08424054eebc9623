import { join } from "node:path"
import { Config, Duration, Effect, Layer, Option, Schema } from "effect"
import { Outbound } from "../outbound/Outbound.ts"
import { FileStore } from "./FileStore.ts"
import type { ObjectStore, StoreUnavailable } from "./ObjectStore.ts"
import type { S3Settings } from "./S3Settings.ts"
import { S3Store } from "./S3Store.ts"

export class StoreMisconfigured extends Schema.TaggedError<StoreMisconfigured>()("StoreMisconfigured", {
  setting: Schema.String,
  reason: Schema.String,
}) {
  override get message() {
    return `The setting ${this.setting} of the object store ${this.reason}`
  }
}

/**
 * Settings of the object store, from the environment. S3 is used when S3_ENDPOINT or S3_BUCKET is set.
 *
 * S3_ENDPOINT (`https://host:port`, or `host:port` together with S3_USE_SSL), S3_BUCKET (rat), S3_ACCESS_KEY,
 * S3_SECRET_KEY, S3_SESSION_TOKEN, S3_USE_SSL (false), S3_REGION (us-east-1), S3_METADATA_TIMEOUT (10s), S3_DATA_TIMEOUT
 * (60s), S3_CACHE_BYTES (10 GiB: room for local copies of objects). Without keys: what the machine offers (roles, profiles).
 */
const storeConfig = Config.all({
  folder: Config.option(Config.NonEmptyString("RAT_STORE")),
  endpoint: Config.option(Config.NonEmptyString("S3_ENDPOINT")),
  bucket: Config.option(Config.NonEmptyString("S3_BUCKET")),
  accessKey: Config.option(Config.Redacted("S3_ACCESS_KEY")),
  secretKey: Config.option(Config.Redacted("S3_SECRET_KEY")),
  sessionToken: Config.option(Config.Redacted("S3_SESSION_TOKEN")),
  useSsl: Config.withDefault(Config.Boolean("S3_USE_SSL"), false),
  region: Config.withDefault(Config.NonEmptyString("S3_REGION"), "us-east-1"),
  metadata: Config.option(Config.String("S3_METADATA_TIMEOUT")),
  data: Config.option(Config.String("S3_DATA_TIMEOUT")),
  cacheBytes: Config.withDefault(Config.Int("S3_CACHE_BYTES"), 10 * 1024 ** 3),
})

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, second: 1000, m: 60_000, minute: 60_000 }

/** `500ms`, `10s`, `1m`, `10 seconds`. */
const timeOf = (
  setting: string,
  text: Option.Option<string>,
  fallback: Duration.Duration,
): Effect.Effect<Duration.Duration, StoreMisconfigured> => {
  if (Option.isNone(text)) return Effect.succeed(fallback)
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|seconds?|minutes?)$/.exec(text.value.trim())
  const unit = match === null ? undefined : (unitMs[match[2]!] ?? unitMs[match[2]!.replace(/s$/, "")])
  return match === null || unit === undefined || Number(match[1]) === 0
    ? Effect.fail(
        new StoreMisconfigured({
          setting,
          reason: `is "${text.value}", which is no time. Write it like 10s or 500ms.`,
        }),
      )
    : Effect.succeed(Duration.millis(Number(match[1]) * unit))
}

const urlOf = (endpoint: string, useSsl: boolean): Effect.Effect<string, StoreMisconfigured> => {
  const url = endpoint.includes("://") ? endpoint : `${useSsl ? "https" : "http"}://${endpoint}`
  return URL.canParse(url) && /^https?:/.test(url)
    ? Effect.succeed(url)
    : Effect.fail(
        new StoreMisconfigured({
          setting: "S3_ENDPOINT",
          reason: `is "${endpoint}", which is no address. Write it like https://minio.example.com:9000.`,
        }),
      )
}

const settingsOf = Effect.fnUntraced(function* (
  config: Config.Success<typeof storeConfig>,
  cacheFolder: string,
): Effect.fn.Return<S3Settings, StoreMisconfigured> {
  const { policies } = yield* Outbound
  const { accessKey, secretKey, sessionToken } = config
  if (Option.isSome(accessKey) !== Option.isSome(secretKey)) {
    const [missing, present] = Option.isSome(accessKey)
      ? (["S3_SECRET_KEY", "S3_ACCESS_KEY"] as const)
      : (["S3_ACCESS_KEY", "S3_SECRET_KEY"] as const)
    return yield* new StoreMisconfigured({
      setting: missing,
      reason: `is missing although ${present} is set. Set both, or neither to use the roles of the machine.`,
    })
  }
  const endpoint = Option.isSome(config.endpoint) ? yield* urlOf(config.endpoint.value, config.useSsl) : undefined
  return {
    ...(endpoint === undefined ? {} : { endpoint }),
    region: config.region,
    bucket: Option.getOrElse(config.bucket, () => "rat"),
    ...(Option.isSome(accessKey) && Option.isSome(secretKey)
      ? {
          credentials: {
            accessKey: accessKey.value,
            secretKey: secretKey.value,
            ...(Option.isSome(sessionToken) ? { sessionToken: sessionToken.value } : {}),
          },
        }
      : {}),
    timeouts: {
      metadata: yield* timeOf("S3_METADATA_TIMEOUT", config.metadata, policies.object_store.deadline),
      data: yield* timeOf("S3_DATA_TIMEOUT", config.data, policies.object_store.dataDeadline),
    },
    cache: { folder: cacheFolder, maxBytes: config.cacheBytes },
  }
})

export const StoreConfig = {
  /** The S3 settings that the environment gives; null when objects are files. For those who sign requests to the store. */
  s3FromConfig: (options: {
    readonly dataFolder: string
  }): Effect.Effect<S3Settings | null, StoreMisconfigured | Config.ConfigError> =>
    Effect.gen(function* () {
      const config = yield* storeConfig
      return Option.isNone(config.endpoint) && Option.isNone(config.bucket)
        ? null
        : yield* settingsOf(config, join(options.dataFolder, "cache"))
    }),
  /** The store that the environment asks for; files live in RAT_STORE or `<dataFolder>/store`, copies of S3 objects in `<dataFolder>/cache`. */
  layerFromConfig: (options: {
    readonly dataFolder: string
  }): Layer.Layer<ObjectStore, StoreUnavailable | StoreMisconfigured | Config.ConfigError> =>
    Layer.unwrap(
      Effect.gen(function* () {
        const config = yield* storeConfig
        return Option.isNone(config.endpoint) && Option.isNone(config.bucket)
          ? FileStore.layer({ root: Option.getOrElse(config.folder, () => join(options.dataFolder, "store")) })
          : S3Store.layer(yield* settingsOf(config, join(options.dataFolder, "cache")))
      }),
    ),
}
