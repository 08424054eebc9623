import { Redacted } from "effect"

/** What stands where a secret was. */
export const redacted = "[redacted]"

const secretWords =
  /(^|_)(password|passwd|pwd|passphrase|secret|token|credential|authorization|cookie|signature|apikey)s?$|(^|_)(api|access|secret|private|account|encryption|signing)_keys?$/

/** Names that match and hide nothing: a fencing token is a number that rises. */
const harmless = new Set(["fencing_token"])

/** Whether values under this name are secrets: `password`, `clientSecret`, `S3_ACCESS_KEY`, `x-api-key`, … */
export const isSecretName = (name: string): boolean => {
  const words = name
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replace(/[^A-Za-z0-9]+/g, "_")
    .toLowerCase()
  return secretWords.test(words) && !harmless.has(words)
}

const urlPassword = /\b([a-z][a-z0-9+.-]*:\/\/[^\s/:@]*):[^\s/@]+@/gi
const authorization = /\b(bearer|basic)\s+[A-Za-z0-9._~+/-]{8,}=*/gi
const assignment = /([A-Za-z0-9_.-]{2,64})["']?\s*[=:]\s*/g
const assigned = /"[^"]*"|'[^']*'|[^\s"'&,;)}\]]+/y

/** Only the values of secrets are skipped: what stands behind any other `:` or `=` may hold one (`http://host/?token=…`). */
const redactAssignments = (text: string): string => {
  let safe = ""
  let done = 0
  for (const found of text.matchAll(assignment)) {
    if (found.index < done || !isSecretName(found[1]!)) continue
    const start = found.index + found[0].length
    assigned.lastIndex = start
    if (!assigned.test(text)) continue
    safe += text.slice(done, start) + redacted
    done = assigned.lastIndex
  }
  return safe + text.slice(done)
}

/** Text without passwords in URLs, authorization headers and `password=…` assignments. */
export const redactText = (text: string): string =>
  redactAssignments(text.replace(urlPassword, `$1:${redacted}@`).replace(authorization, `$1 ${redacted}`))

const deepest = 6

const clean = (value: unknown, depth: number, seen: ReadonlyArray<object>): unknown => {
  switch (typeof value) {
    case "string":
      return redactText(value)
    case "bigint":
      return String(value)
    case "number":
      return Number.isFinite(value) ? value : String(value)
    case "function":
    case "symbol":
      return String(value.toString()).slice(0, 100)
    case "object": {
      if (value === null) return null
      if (Redacted.isRedacted(value)) return redacted
      if (value instanceof Date) return Number.isNaN(value.getTime()) ? "invalid date" : value.toISOString()
      if (value instanceof Error) return redactText(value.message || value.name)
      if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`
      if (depth === deepest || seen.includes(value)) return "…"
      const inner = [...seen, value]
      if ("toJSON" in value && typeof value.toJSON === "function") return clean(value.toJSON(), depth + 1, inner)
      if (Array.isArray(value)) return value.map((item) => clean(item, depth + 1, inner))
      if (value instanceof Set) return clean([...value], depth + 1, inner)
      if (value instanceof Map) return clean(Object.fromEntries(value), depth + 1, inner)
      return redactFields(value as Record<string, unknown>, depth + 1, inner)
    }
    default:
      return value
  }
}

/** A copy that is safe to write out as JSON: secrets replaced, cycles and depth cut, exotic values as text. */
export const redactFields = (
  fields: Readonly<Record<string, unknown>>,
  depth = 0,
  seen: ReadonlyArray<object> = [],
): Record<string, unknown> => {
  const safe: Record<string, unknown> = {}
  for (const name of Object.keys(fields)) {
    safe[name] = isSecretName(name) && fields[name] != null ? redacted : clean(fields[name], depth, seen)
  }
  return safe
}
