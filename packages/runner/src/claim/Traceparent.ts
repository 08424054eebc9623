import { Tracer } from "effect"

/** Version, trace id, span id, flags (W3C Trace Context, "traceparent Header"). */
const pattern = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/

/** The span that a traceparent names; undefined when it is none. */
export const parentOf = (traceparent: string | null): Tracer.ExternalSpan | undefined => {
  const found = traceparent === null ? null : pattern.exec(traceparent)
  return found === null
    ? undefined
    : Tracer.externalSpan({
        traceId: found[1]!,
        spanId: found[2]!,
        sampled: (Number.parseInt(found[3]!, 16) & 1) === 1,
      })
}
