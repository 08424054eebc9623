import { isMap, isNode, isScalar, LineCounter, parseDocument } from "yaml"
import type { Issue } from "./Issue.ts"
import { readSetting } from "./Setting.ts"
import type { Settings } from "./SettingValue.ts"
import type { Given } from "./StrategySettings.ts"

export interface ConfigFile {
  readonly settings: Settings
  /** Where each key stands. */
  readonly given: ReadonlyMap<string, Given>
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
      given: new Map(),
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
  if (root === null || (isScalar(root) && root.value === null)) return { settings: {}, given: new Map(), issues: [] }
  if (!isMap(root)) {
    return {
      settings: {},
      given: new Map(),
      issues: [{ ...at(root.range?.[0]), code: "config.syntax", message: "Must be a list of `key: value` lines." }],
    }
  }
  const settings: Settings = {}
  const given = new Map<string, Given>()
  const issues: Array<Issue> = []
  for (const pair of root.items) {
    const keyNode = isScalar(pair.key) ? pair.key : null
    if (keyNode === null || typeof keyNode.value !== "string") {
      issues.push({ ...at(keyNode?.range?.[0]), code: "config.syntax", message: "Keys must be plain words." })
      continue
    }
    const value: unknown = isNode(pair.value) ? pair.value.toJS(document) : null
    const key = keyNode.value.toLowerCase()
    const read = readSetting(key, value)
    given.set(key, { source: "config", ...at(keyNode.range?.[0]) })
    if ("set" in read) Object.assign(settings, read.set)
    else issues.push({ ...at(keyNode.range?.[0]), code: read.code, message: read.problem })
  }
  return { settings, given, issues }
}
