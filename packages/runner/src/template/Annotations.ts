import type { Issue } from "./Issue.ts"

/** `-- @key: value` in the header of a SQL file. Keys are lower-cased: they are case-insensitive. */
export interface Annotation {
  readonly key: string
  readonly value: string
  readonly line: number
  /** 1-based column of the `@`. */
  readonly column: number
}

export interface Header {
  readonly annotations: ReadonlyArray<Annotation>
  readonly issues: ReadonlyArray<Issue>
}

const annotationLine = /^(\s*--\s*)@(\w+)\s*:(.*)$/
const colonMissing = /^(\s*--\s*)@(\w+)(?:\s|$)/

/**
 * The annotations of a SQL file. The header ends at the first line that is neither blank nor a comment (`--`, block or
 * template comment); an annotation below it would be read by nobody, so it is an error. `known` are the keys that the
 * kind of file has: an `@word` without a colon is a mistake when it is one of them and an ordinary comment otherwise.
 */
export const readHeader = (source: string, known: ReadonlyArray<string>): Header => {
  const annotations: Array<Annotation> = []
  const issues: Array<Issue> = []
  const firstLineOf = new Map<string, number>()
  const lines = source.split("\n")
  let inHeader = true
  // End mark of the comment that spans lines, while we are in one.
  let closing: "*/" | "#}" | null = null

  for (const [index, raw] of lines.entries()) {
    const line = index + 1
    const text = raw.replace(/\r$/, "")
    const trimmed = text.trim()
    if (closing !== null) {
      const end = trimmed.indexOf(closing)
      if (end === -1) continue
      // What follows the end of a comment on its line is a statement already, unless there is nothing.
      if (trimmed.slice(end + 2).trim() !== "") inHeader = false
      closing = null
      continue
    }
    const found = annotationLine.exec(text)
    if (found !== null) {
      const key = found[2]!.toLowerCase()
      const column = found[1]!.length + 1
      if (!inHeader) {
        if (known.includes(key)) {
          issues.push({
            line,
            column,
            code: "annotation.misplaced",
            message: `Annotation @${key} stands below the first statement, where it has no effect. Move it to the top of the file.`,
          })
        }
        continue
      }
      const earlier = firstLineOf.get(key)
      if (earlier !== undefined) {
        issues.push({
          line,
          column,
          code: "annotation.duplicate",
          message: `Annotation @${key} was already given in line ${earlier}. Keep one of them.`,
        })
        continue
      }
      firstLineOf.set(key, line)
      annotations.push({ key, value: found[3]!.trim(), line, column })
      continue
    }
    if (!inHeader || trimmed === "") continue
    if (trimmed.startsWith("--")) {
      const bare = colonMissing.exec(text)
      if (bare !== null && known.includes(bare[2]!.toLowerCase())) {
        issues.push({
          line,
          column: bare[1]!.length + 1,
          code: "annotation.syntax",
          message: `Annotation @${bare[2]!.toLowerCase()} has no value. Write it as \`-- @${bare[2]!.toLowerCase()}: value\`.`,
        })
      }
      continue
    }
    const opening = trimmed.startsWith("/*") ? "*/" : trimmed.startsWith("{#") ? "#}" : null
    if (opening === null) {
      inHeader = false
      continue
    }
    const end = trimmed.indexOf(opening, 2)
    if (end === -1) closing = opening
    else if (trimmed.slice(end + 2).trim() !== "") inHeader = false
  }
  return { annotations, issues }
}
