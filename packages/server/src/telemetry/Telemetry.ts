import { defaultPolicies, outbound, policiesFromConfig, verdicts } from "@rat/lakehouse"
import {
  Config,
  ConfigProvider,
  Duration,
  Effect,
  Layer,
  Logger,
  type LogLevel,
  RcMap,
  References,
  Schema,
} from "effect"
import { FetchHttpClient, HttpClient, HttpClientError } from "effect/http"
import { Otlp, OtlpSerialization } from "effect/observability"
import { jsonLogger } from "./JsonLogger.ts"
import { prettyLogger } from "./PrettyLogger.ts"
import { isSecretName, redacted, redactText } from "./Redaction.ts"
import { samplerLayer } from "./Sampler.ts"

export class TelemetryMisconfigured extends Schema.TaggedError<TelemetryMisconfigured>()("TelemetryMisconfigured", {
  setting: Schema.String,
  reason: Schema.String,
}) {
  override get message() {
    return `The setting ${this.setting} ${this.reason}`
  }
}

export interface TelemetryOptions {
  /** `--log-format`; unless told RAT_LOG_FORMAT, then pretty on a terminal and json elsewhere. */
  readonly logFormat?: "json" | "pretty"
  /** `--log-level`; unless told RAT_LOG_LEVEL, then warn on a terminal (people read there) and info elsewhere. */
  readonly logLevel?: "debug" | "info" | "warn" | "error"
  /** Version of the platform. */
  readonly version?: string
  /** Names this node among several, in every exported signal. */
  readonly node?: string
}

const levels: { readonly [level in NonNullable<TelemetryOptions["logLevel"]>]: LogLevel.LogLevel } = {
  debug: "Debug",
  info: "Info",
  warn: "Warn",
  error: "Error",
}

/** Structured logs to stderr, secrets redacted. */
const logs = (options: TelemetryOptions) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const format = yield* Config.withDefault(
        Config.Literals(["json", "pretty"], "RAT_LOG_FORMAT"),
        process.stderr.isTTY ? "pretty" : "json",
      )
      const level = yield* Config.withDefault(
        Config.Literals(["debug", "info", "warn", "error"], "RAT_LOG_LEVEL"),
        process.stderr.isTTY ? "warn" : "info",
      )
      const noColour = yield* Config.withDefault(Config.String("NO_COLOR"), "")
      const logger =
        (options.logFormat ?? format) === "json"
          ? jsonLogger
          : prettyLogger(process.stderr.isTTY === true && noColour === "")
      return Layer.merge(
        Logger.layer([logger]),
        Layer.succeed(References.MinimumLogLevel, levels[options.logLevel ?? level]),
      )
    }),
  )

interface Attribute {
  readonly key: string
  value: { stringValue?: string | null }
}

const isAttribute = (value: object): value is Attribute =>
  "key" in value &&
  typeof value.key === "string" &&
  "value" in value &&
  typeof value.value === "object" &&
  value.value !== null

/** Redacts in place what is about to be encoded; it belongs to the exporter and is sent once. */
const redactExport = <Data>(data: Data): Data => {
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return
    if (isAttribute(value) && isSecretName(value.key)) {
      value.value = { stringValue: redacted }
      return
    }
    const fields = value as Record<string, unknown>
    for (const name of Object.keys(fields)) {
      const field = fields[name]
      if (typeof field === "string")
        fields[name] = name === "stringValue" || name === "message" ? redactText(field) : field
      else visit(field)
    }
  }
  visit(data)
  return data
}

const serialization = Layer.unwrap(
  Effect.gen(function* () {
    const protocol = yield* Config.withDefault(Config.String("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
    if (protocol !== "http/protobuf" && protocol !== "http/json") {
      return yield* new TelemetryMisconfigured({
        setting: "OTEL_EXPORTER_OTLP_PROTOCOL",
        reason: `is "${protocol}". Set it to http/protobuf or http/json, and the endpoint to the collector's HTTP port (usually 4318).`,
      })
    }
    return Layer.effect(
      OtlpSerialization.OtlpSerialization,
      Effect.map(OtlpSerialization.OtlpSerialization, (inner) => ({
        traces: (data) => inner.traces(redactExport(data)),
        logs: (data) => inner.logs(redactExport(data)),
        metrics: inner.metrics,
      })),
    ).pipe(Layer.provide(protocol === "http/json" ? OtlpSerialization.layerJson : OtlpSerialization.layerProtobuf))
  }),
)

/**
 * A collector that takes the connection and never answers must not pile up what it does not take, and one that is away is
 * not asked for a while. Trying again is the exporter's.
 */
const boundedClient = Layer.effect(
  HttpClient.HttpClient,
  Effect.gen(function* () {
    const client = yield* HttpClient.HttpClient
    // Whoever mistyped a limit is told so by the node.
    const { otlp } = yield* Effect.orElseSucceed(policiesFromConfig, () => defaultPolicies)
    const timeoutMs = yield* Config.withDefault(
      Config.Int("OTEL_EXPORTER_OTLP_TIMEOUT"),
      Duration.toMillis(otlp.deadline),
    )
    const collectors = yield* RcMap.make({
      lookup: (endpoint: string) =>
        outbound({
          dependency: "otlp",
          endpoint,
          limits: { ...otlp, deadline: Duration.millis(timeoutMs) },
          verdict: (error) => (HttpClientError.isHttpClientError(error) ? verdicts.outage : verdicts.answer),
        }),
      idleTimeToLive: Duration.infinity,
    })
    return HttpClient.transform(client, (answer, request) =>
      Effect.scoped(
        Effect.flatMap(RcMap.get(collectors, new URL(request.url).host), ({ call }) =>
          Effect.catchTag(call("export", answer), "DependencyUnavailable", ({ detail }) =>
            Effect.fail(
              new HttpClientError.HttpClientError({
                reason: new HttpClientError.TransportError({ request, description: detail }),
              }),
            ),
          ),
        ),
      ),
    )
  }),
).pipe(Layer.provide(FetchHttpClient.layer))

/** OpenTelemetry exports by default once an endpoint is known; effect wants each exporter named. */
const exporterDefaults = ConfigProvider.layerAdd(
  ConfigProvider.fromEnv({
    env: { OTEL_TRACES_EXPORTER: "otlp", OTEL_METRICS_EXPORTER: "otlp", OTEL_LOGS_EXPORTER: "otlp" },
  }),
)

const serviceName = Effect.gen(function* () {
  const attributes = yield* Config.withDefault(
    Config.Record(Schema.String, Schema.String, "OTEL_RESOURCE_ATTRIBUTES", { trim: true }),
    {} as Record<string, string>,
  )
  return yield* Config.withDefault(Config.String("OTEL_SERVICE_NAME"), attributes["service.name"] ?? "rat")
})

const otlp = (options: TelemetryOptions) =>
  Layer.unwrap(
    Effect.map(serviceName, (name) =>
      samplerLayer.pipe(
        Layer.provideMerge(
          Otlp.layerFromConfig({
            resource: {
              serviceName: name,
              ...(options.version === undefined ? {} : { serviceVersion: options.version }),
              attributes: options.node === undefined ? {} : { "service.instance.id": options.node },
            },
          }),
        ),
      ),
    ),
  ).pipe(Layer.provide([serialization, boundedClient]), Layer.provide(exporterDefaults))

/**
 * Traces, metrics and logs of everything that runs inside it. Logs go to stderr; all three go to a collector by OTLP when
 * OTEL_EXPORTER_OTLP_ENDPOINT (or that of one signal) is set, following the standard OTEL_* variables, and nowhere otherwise.
 * Provide it outermost: what is left is sent when it closes, after everything else has stopped.
 */
export const Telemetry = {
  layer: (options: TelemetryOptions = {}): Layer.Layer<never, TelemetryMisconfigured | Config.ConfigError> =>
    otlp(options).pipe(Layer.provideMerge(logs(options))),
}
