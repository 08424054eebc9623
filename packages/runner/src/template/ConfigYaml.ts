import { isMap, isNode, isScalar, LineCounter, parseDocument } from "yaml"
import type { Issue } from "./Issue.ts"
import { readSetting, type Settings } from "./Setting.ts"

export interface ConfigFile {
  readonly settings: Settings
  readonly issues: ReadonlyArray<Issue>
}

/** Reads a pipeline's config.yaml: all of its problems, each with its line and column. An empty file is fine. */
export const readConfigYaml = (source: string): ConfigFile => {
  const lines = new LineCounter()
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false, uniqueKeys: true })
  const at = (offset: number | undefined) => {
    if (offset === undefined) return {}
    const { line, col } = lines.linePos(offset)
    return { line, column: col }
  }
  if (document.errors.length > 0) {
    return {
      settings: {},
      issues: document.errors.map((error) => ({
        ...at(error.pos[0]),
        code: "config.syntax",
        message:
          error.code === "DUPLICATE_KEY"
            ? "This key is given twice. Keep one of them."
            : `Not valid YAML: ${error.message}.`,
      })),
    }
  }
  const root = document.contents
  if (root === null || (isScalar(root) && root.value === null)) return { settings: {}, issues: [] }
  if (!isMap(root)) {
    return {
      settings: {},
      issues: [{ ...at(root.range?.[0]), code: "config.syntax", message: "Must be a list of `key: value` lines." }],
    }
  }
  const settings: Settings = {}
  const issues: Array<Issue> = []
  for (const pair of root.items) {
    const keyNode = isScalar(pair.key) ? pair.key : null
    if (keyNode === null || typeof keyNode.value !== "string") {
      issues.push({ ...at(keyNode?.range?.[0]), code: "config.syntax", message: "Keys must be plain words." })
      continue
    }
    const value: unknown = isNode(pair.value) ? pair.value.toJS(document) : null
    const read = readSetting(keyNode.value.toLowerCase(), value)
    if ("set" in read) Object.assign(settings, read.set)
    else issues.push({ ...at(keyNode.range?.[0]), code: read.code, message: read.problem })
  }
  return { settings, issues }
}
