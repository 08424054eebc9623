import { didYouMean, namePattern, type Severity } from "@rat/domain"
import { readHeader } from "./Annotations.ts"
import type { Issue } from "./Issue.ts"

/** What a quality test says of itself: its name is the file's, the rest are annotations. */
export interface QualityHeader {
  readonly name: string
  readonly severity: Severity
  readonly description: string
  readonly tags: ReadonlyArray<string>
  readonly remediation: string
  readonly issues: ReadonlyArray<Issue>
}

const keys = ["severity", "description", "tags", "remediation"]
const folder = "tests/quality/"

/** Whether a path inside a pipeline's folder is a quality test. */
export const isQualityTest = (path: string): boolean => path.startsWith(folder) && path.endsWith(".sql")

/** Reads the header of the test in `path` (inside the pipeline's folder). */
export const readQualityHeader = (path: string, source: string): QualityHeader => {
  const header = readHeader(source, keys)
  const issues: Array<Issue> = [...header.issues]
  const name = path.slice(folder.length, -".sql".length)
  if (!namePattern.test(name)) {
    issues.push({
      code: "file.name",
      message: `"${name}.sql" is not a valid name of a quality test: lower-case letters, digits, '_' and '-', first a letter, directly in ${folder}`,
    })
  }
  let severity: Severity = "error"
  let description = ""
  let tags: ReadonlyArray<string> = []
  let remediation = ""
  for (const { key, value, line, column } of header.annotations) {
    if (key === "severity") {
      const word = value.toLowerCase()
      if (word === "error") severity = "error"
      else if (word === "warn" || word === "warning") severity = "warn"
      else {
        issues.push({
          line,
          column,
          code: "annotation.invalid_value",
          message: `severity must be error or warn, not "${value}".${didYouMean(word, ["error", "warn"])}`,
        })
      }
    } else if (key === "description") description = value
    else if (key === "remediation") remediation = value
    else if (key === "tags") {
      tags = value
        .split(",")
        .map((tag) => tag.trim())
        .filter((tag) => tag !== "")
    } else {
      issues.push({
        line,
        column,
        code: "annotation.unknown_key",
        message: `Unknown annotation @${key} of a quality test.${didYouMean(key, keys)} There are: ${keys.join(", ")}.`,
      })
    }
  }
  return { name, severity, description, tags, remediation, issues }
}
