/**
 * Where the parts of a template are, without rendering it: text that stays, and tags. Knows Jinja's three kinds of tags,
 * quotes inside them and `raw` blocks, in which nothing is a tag.
 */
export interface TemplatePart {
  readonly kind: "text" | "expression" | "statement" | "comment"
  /** Offsets into the template, end exclusive. */
  readonly start: number
  readonly end: number
}

const kinds = { "{{": "expression", "{%": "statement", "{#": "comment" } as const
const ends = { "{{": "}}", "{%": "%}", "{#": "#}" } as const

const endOfTag = (source: string, start: number, end: string): number => {
  let quote: string | null = null
  for (let at = start + 2; at < source.length; at++) {
    const char = source[at]!
    if (quote !== null) {
      if (char === "\\") at++
      else if (char === quote) quote = null
    } else if (source.startsWith(end, at)) return at + 2
    else if (end !== "#}" && (char === '"' || char === "'")) quote = char
  }
  return source.length
}

export const templateParts = (source: string): ReadonlyArray<TemplatePart> => {
  const parts: Array<TemplatePart> = []
  let textStart = 0
  let at = 0
  const text = (end: number) => {
    if (end > textStart) parts.push({ kind: "text", start: textStart, end })
  }
  while (at < source.length) {
    const opening = source.slice(at, at + 2)
    if (opening !== "{{" && opening !== "{%" && opening !== "{#") {
      at++
      continue
    }
    text(at)
    const end = endOfTag(source, at, ends[opening])
    parts.push({ kind: kinds[opening], start: at, end })
    at = end
    textStart = end
    if (opening === "{%" && /^\{%[-+]?\s*raw\s*[-+]?%\}$/.test(source.slice(parts.at(-1)!.start, end))) {
      const closing = /\{%[-+]?\s*endraw\s*[-+]?%\}/g
      closing.lastIndex = end
      at = closing.exec(source)?.index ?? source.length
    }
  }
  text(source.length)
  return parts
}

/** A call of `name` with a literal first argument, in a tag. Offsets are those of the name. */
export interface LiteralCall {
  readonly argument: string
  readonly offset: number
}

/** Calls such as `ref('silver.flights')` in tags, also in branches that a rendering would not take. */
export const literalCalls = (source: string, name: string): ReadonlyArray<LiteralCall> => {
  const calls: Array<LiteralCall> = []
  const pattern = new RegExp(`(?<![\\w.])${name}\\s*\\(\\s*(?:'([^']*)'|"([^"]*)")`, "g")
  for (const part of templateParts(source)) {
    if (part.kind !== "expression" && part.kind !== "statement") continue
    for (const found of source.slice(part.start, part.end).matchAll(pattern)) {
      calls.push({ argument: found[1] ?? found[2] ?? "", offset: part.start + found.index })
    }
  }
  return calls
}

/** Offset of the first call of `name` in a tag, whatever its arguments; null when there is none. */
export const callOffset = (source: string, name: string): number | null => {
  const pattern = new RegExp(`(?<![\\w.])${name}\\s*\\(`)
  for (const part of templateParts(source)) {
    if (part.kind !== "expression" && part.kind !== "statement") continue
    const found = pattern.exec(source.slice(part.start, part.end))
    if (found !== null) return part.start + found.index
  }
  return null
}
