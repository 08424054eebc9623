import { Effect, Option } from "effect"
import { Flag } from "effect/cli"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"

/** What runs are given, as flags. */
export const parameterFlags = {
  param: Flag.KeyValuePair("param").pipe(
    Flag.optional,
    Flag.withDescription(
      "NAME=VALUE for param('NAME') in templates; JSON where it is JSON, else text; may be repeated",
    ),
  ),
  logicalTime: Flag.String("logical-time").pipe(
    Flag.optional,
    Flag.withDescription("The moment that the run is about (RFC 3339), `logical_time` in templates; default: now"),
  ),
  priority: Flag.Int("priority").pipe(
    Flag.optional,
    Flag.withDescription("-100 to 100; larger goes first in the namespace's queue; default: what the pipeline says"),
  ),
}

/** `3`, `true`, `null`, `[1]` and `"3"` are JSON; `2026-01-01` and `Bern` are text. */
const valueOf = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** The fields of a request for a run. */
export const givenOf = Effect.fnUntraced(function* (flags: {
  readonly param: Option.Option<Record<string, string>>
  readonly logicalTime: Option.Option<string>
  readonly priority: Option.Option<number>
}) {
  const parameters = Object.entries(Option.getOrElse(flags.param, () => ({})))
  const text = Option.getOrUndefined(flags.logicalTime)
  const time = text === undefined ? undefined : new Date(text)
  if (time !== undefined && Number.isNaN(time.getTime())) {
    return yield* new CliFailure({
      message: `--logical-time ${text} is no moment in time.`,
      next: "Write it as 2026-01-31T00:00:00Z, or as a day: 2026-01-31 (midnight, UTC).",
      exitCode: ExitCode.usage,
    })
  }
  return {
    ...(parameters.length === 0
      ? {}
      : { parameters: Object.fromEntries(parameters.map(([name, value]) => [name, valueOf(value)])) as never }),
    ...(time === undefined ? {} : { logical_time: time.toISOString() }),
    ...(Option.isNone(flags.priority) ? {} : { priority: flags.priority.value }),
  }
})

export type GivenParameters = Effect.Success<ReturnType<typeof givenOf>>
