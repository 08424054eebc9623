import { Option } from "effect"
import { Flag } from "effect/cli"

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const

/** "500ms", "30s", "2m", "1h" or plain seconds, in milliseconds. */
export const parseDurationMs = (text: string): number | undefined => {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text.trim())
  if (match === null) return undefined
  const ms = Number(match[1]) * unitMs[(match[2] ?? "s") as keyof typeof unitMs]
  return ms > 0 ? ms : undefined
}

export const timeoutFlag = (description: string) =>
  Flag.String("timeout").pipe(
    Flag.withMetavar("TIME"),
    Flag.filterMap(
      (text) => Option.fromUndefinedOr(parseDurationMs(text)),
      (text) => `"${text}" is not a time. Write it as 30s, 500ms, 2m or 1h.`,
    ),
    Flag.optional,
    Flag.withDescription(description),
  )
