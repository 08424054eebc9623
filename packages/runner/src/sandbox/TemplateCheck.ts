import { checkedStatements, type DuckDbSession, SlotError, type SqlPosition, sqlError } from "@rat/lakehouse/slot"
import type { Issue } from "../template/Issue.ts"
import { type Template, type TemplateContext, unforeseeable } from "../template/Template.ts"
import type { CheckedFile, TemplateFile } from "./RunnerOps.ts"

/** Any value will do: it only has to be there for the branches that later runs take. */
const someWatermark = "2000-01-01 00:00:00"

/** Whether the engine's parser takes the SQL; nothing of it is bound or executed. */
const parse = async (session: DuckDbSession, sql: string): Promise<SlotError | null> => {
  try {
    for (const statement of checkedStatements(sql, "pipeline")) {
      try {
        await session.connection.extractStatements(statement.text)
      } catch (error) {
        throw sqlError(error, session.limits, { text: sql, offset: statement.offset, statement: statement.text })
      }
    }
    return null
  } catch (error) {
    if (error instanceof SlotError) return error
    throw error
  }
}

const codeOf = (error: SlotError): string => (error.code === "sql.error" ? "sql.syntax" : error.code)

/**
 * Problems of a template: it must compile, render and give SQL that parses, both on the first run (no table, no watermark)
 * and on later ones.
 */
export const checkTemplate = async (
  session: DuckDbSession,
  template: Template,
  file: TemplateFile,
  context: TemplateContext,
): Promise<CheckedFile> => {
  const broken = await template.check(file.source)
  if (broken !== null) return { issues: [broken] }
  const issues = new Map<string, Issue>()
  const times: ReadonlyArray<TemplateContext> = [
    { ...context, hasTable: true, watermarkValue: someWatermark },
    { ...context, watermarkValue: null },
  ]
  for (const time of times) {
    const result = await template.render(file.source, time)
    const found = async (): Promise<Issue | null> => {
      if (result._tag === "Problem") return result.problem === unforeseeable ? null : result.problem
      const error = await parse(session, result.sql)
      if (error === null) return null
      const position = (error.details as SqlPosition | undefined)?.position
      const place = position === undefined ? null : await template.locate(file.source, time, position)
      return { ...place, code: codeOf(error), message: error.message }
    }
    const issue = await found()
    // The same problem both times, whatever else its words say of the time.
    const key = issue === null ? "" : `${issue.code}:${issue.line}:${issue.column}`
    if (issue !== null && !issues.has(key)) issues.set(key, issue)
  }
  return { issues: [...issues.values()] }
}
