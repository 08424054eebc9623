import { Config, Effect, Layer, Option, Random, Tracer } from "effect"

const names = [
  "always_on",
  "always_off",
  "traceidratio",
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio",
] as const

/**
 * Which traces are kept: OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG, as OpenTelemetry defines them. A span within a
 * trace follows its parent; the choice is made at the root (or, without `parentbased_`, at a span whose parent is elsewhere).
 */
export const samplerLayer: Layer.Layer<never, Config.ConfigError> = Layer.effect(
  Tracer.Tracer,
  Effect.gen(function* () {
    const inner = yield* Tracer.Tracer
    const name = yield* Config.withDefault(Config.Literals(names, "OTEL_TRACES_SAMPLER"), "parentbased_always_on")
    const ratio = yield* Config.withDefault(Config.Finite("OTEL_TRACES_SAMPLER_ARG"), 1)
    if (name === "parentbased_always_on" || name === "always_on") return inner
    const random = yield* Random.Random
    const followsRemote = name.startsWith("parentbased_")
    const keeps = name.endsWith("always_off")
      ? () => false
      : name.endsWith("always_on")
        ? () => true
        : () => random.nextDoubleUnsafe() < ratio
    return Tracer.make({
      ...(inner.context === undefined ? {} : { context: inner.context }),
      span: (options) => {
        const parent = Option.getOrUndefined(options.parent)
        const follows = parent !== undefined && (parent._tag === "Span" || followsRemote)
        return inner.span({ ...options, sampled: options.sampled && (follows ? parent.sampled : keeps()) })
      },
    })
  }),
)
