import { existsSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { namePattern, nearest } from "@rat/domain"
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type Scalar } from "yaml"
import type { Issue } from "./Issue.ts"

/** The file that makes a folder a project. */
export const settingsFile = "rat.yaml"

/** Content of rat.yaml. */
export interface ProjectSettings {
  readonly name: string
  /** Where the project's pipelines and landing zones go; undefined takes the default. */
  readonly namespace: string | undefined
  /** Made by a push when they are missing. */
  readonly landingZones: ReadonlyArray<string>
}

/** Every key that rat.yaml may have. `schema/rat.schema.json` says the same to editors. */
export const settingsKeys = ["name", "namespace", "landing_zones"]

const nameRule = "must have lower-case letters, digits, '_' and '-', and start with a letter"

/** This folder or the nearest one above it that holds a rat.yaml. */
export const findProjectFolder = (from: string): string | undefined => {
  if (existsSync(join(from, settingsFile))) return from
  const parent = dirname(from)
  return parent === from ? undefined : findProjectFolder(parent)
}

/** Settings of a project, or everything that is wrong with them. */
export const readProjectSettings = (
  folder: string,
): { readonly settings: ProjectSettings | undefined; readonly issues: ReadonlyArray<Issue> } =>
  parseProjectSettings(readFileSync(join(folder, settingsFile), "utf8"))

export const parseProjectSettings = (
  source: string,
): { readonly settings: ProjectSettings | undefined; readonly issues: ReadonlyArray<Issue> } => {
  const lines = new LineCounter()
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false })
  const issues: Array<Issue> = []
  const report = (offset: number | undefined, code: string, message: string) => {
    const position = offset === undefined ? undefined : lines.linePos(offset)
    const place = position === undefined ? {} : { line: position.line, column: position.col }
    issues.push({ path: settingsFile, ...place, code, message })
  }
  for (const error of document.errors) report(error.pos[0], "project.syntax", `Not valid YAML: ${error.message}.`)
  if (issues.length > 0) return { settings: undefined, issues }
  if (!isMap(document.contents)) {
    report(undefined, "project.syntax", "Must hold `name: <name of the project>`.")
    return { settings: undefined, issues }
  }

  const text = (node: Node | null, key: string): string | undefined => {
    if (isScalar(node) && typeof node.value === "string" && namePattern.test(node.value)) return node.value
    report(node?.range?.[0], "project.invalid_value", `\`${key}\` ${nameRule}.`)
    return undefined
  }
  let name: string | undefined
  let namespace: string | undefined
  let landingZones: ReadonlyArray<string> = []
  for (const pair of document.contents.items) {
    const key = (pair.key as Scalar).value
    const value = pair.value as Node | null
    if (key === "name") name = text(value, "name")
    else if (key === "namespace") namespace = text(value, "namespace")
    else if (key === "landing_zones") {
      if (isSeq(value)) {
        landingZones = value.items.flatMap((item) => text(item as Node, "each landing zone") ?? [])
      } else report(value?.range?.[0], "project.invalid_value", "`landing_zones` must be a list of names.")
    } else {
      const meant = nearest(String(key), settingsKeys)
      const hint = meant === null ? `Known are ${settingsKeys.join(", ")}.` : `Did you mean \`${meant}\`?`
      report((pair.key as Scalar).range?.[0], "project.unknown_key", `Unknown key \`${String(key)}\`. ${hint}`)
    }
  }
  if (issues.length === 0 && name === undefined) {
    report(undefined, "project.missing_key", "`name` is missing: add `name: <name of the project>`.")
  }
  return { settings: issues.length > 0 ? undefined : { name: name!, namespace, landingZones }, issues }
}
