import type { Plain } from "@rat/client"
import type { ProjectIssue } from "@rat/domain"
import { Schema } from "effect"

/** One thing wrong in a project's files; `path` is inside the project. */
export type Issue = Plain<ProjectIssue>

/** The list of problems that the server's refusal of a push carries. */
export const IssueList = Schema.Struct({
  issues: Schema.Array(
    Schema.Struct({
      path: Schema.String,
      line: Schema.optional(Schema.Int),
      column: Schema.optional(Schema.Int),
      code: Schema.String,
      message: Schema.String,
    }),
  ),
})

/** `path:line:column: message [code]`, then the offending line with a mark under the place. */
export const issueText = (issue: Issue, contentOf: (path: string) => string | undefined): string => {
  const place = [issue.path, issue.line, issue.column].filter((part) => part !== undefined).join(":")
  const head = `${place}: ${issue.message} [${issue.code}]`
  const line = issue.line === undefined ? undefined : contentOf(issue.path)?.split("\n")[issue.line - 1]
  if (line === undefined) return head
  const gutter = `${issue.line} | `.padStart(8)
  const quoted = `${gutter}${line.trimEnd()}`
  if (issue.column === undefined) return `${head}\n${quoted}`
  // Tabs stay tabs, so that the mark stands under its character whatever their width.
  const before = line.slice(0, issue.column - 1).replaceAll(/[^\t]/g, " ")
  return `${head}\n${quoted}\n${" ".repeat(gutter.length - 2)}| ${before}^`
}
