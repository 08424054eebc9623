import { templateParts } from "./TemplateSource.ts"

/**
 * From a place in rendered SQL to the place in the template. The template is rendered a second time (only when there
 * is an error to place) with marks before every word of its text and before every tag; the marks that stand before a
 * character of the output say where it came from. Marks are private-use characters, so they are neither white space nor SQL.
 */
const open = "\u{e000}"
const close = "\u{e001}"

/** The template with marks; null when it holds such characters itself. */
export const markTemplate = (source: string): string | null => {
  if (source.includes(open) || source.includes(close)) return null
  let marked = ""
  for (const part of templateParts(source)) {
    const text = source.slice(part.start, part.end)
    if (part.kind === "text") {
      marked += text.replace(/\S+/g, (word, at: number) => `${open}w${part.start + at}${close}${word}`)
    } else if (part.kind === "comment") marked += text
    else marked += `${open}t${part.start}${close}${text}`
  }
  return marked
}

/**
 * Offset in the template of the character at `offset` of the rendered text; for what a tag made, the tag's offset. Null
 * when it cannot be told (a filter changed marked text). White space is left out of the count: marks change how much of it
 * is trimmed.
 */
export const templateOffset = (rendered: string, marked: string, offset: number): number | null => {
  let wanted = 0
  for (let at = 0; at < offset && at < rendered.length; at++) if (rendered[at]!.trim() !== "") wanted++
  // A place in white space (or the end) means the character after (or before) it.
  let target = offset
  while (target < rendered.length && rendered[target]!.trim() === "") target++
  const atEnd = target >= rendered.length
  const char = atEnd ? null : rendered[target]!

  let seen = 0
  let origin: { readonly kind: string; readonly offset: number } | null = null
  let since = 0
  let last: number | null = null
  for (let at = 0; at < marked.length; at++) {
    const current = marked[at]!
    if (current === open) {
      const end = marked.indexOf(close, at)
      if (end === -1) return null
      origin = { kind: marked[at + 1]!, offset: Number(marked.slice(at + 2, end)) }
      since = 0
      at = end
      continue
    }
    if (current.trim() !== "") {
      if (origin !== null) last = origin.kind === "w" ? origin.offset + since : origin.offset
      if (!atEnd && seen === wanted) return current === char ? last : null
      seen++
    }
    since++
  }
  return atEnd && seen === wanted ? last : null
}
