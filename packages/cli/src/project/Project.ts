import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { join, resolve, sep } from "node:path"
import { defaultNamespace, Layer, namePattern, nearest } from "@rat/domain"
import { Effect } from "effect"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import type { Issue } from "./Issue.ts"
import { findProjectFolder, type ProjectSettings, readProjectSettings, settingsFile } from "./ProjectSettings.ts"

/** A file as it goes to the server; `path` is inside the project and, with the same words, inside the namespace. */
export interface SourceFile {
  readonly path: string
  readonly content: string
}

/** A folder of plain files that lives in git. */
export interface Project {
  readonly folder: string
  readonly settings: ProjectSettings
  readonly namespace: string
  readonly files: ReadonlyArray<SourceFile>
  /** What can be seen without a server; a project with issues is not pushed. */
  readonly issues: ReadonlyArray<Issue>
}

/** The server's limit for one file. */
const largestFile = 1024 * 1024

const utf8 = new TextDecoder("utf-8", { fatal: true })

const layoutIssue = (path: string): Issue | undefined => {
  const [, layer = "", name = "", rest] = path.split("/")
  const issue = (message: string): Issue => ({ path, code: "project.layout", message })
  if (rest === undefined) return issue("Lies outside of a pipeline: put it into pipelines/<layer>/<name>/.")
  if (!(Layer.literals as ReadonlyArray<string>).includes(layer)) {
    const meant = nearest(layer, Layer.literals)
    return issue(
      `"${layer}" is not a layer. ${meant === null ? "The layers are bronze, silver and gold." : `Did you mean "${meant}"?`}`,
    )
  }
  if (!namePattern.test(name)) {
    return issue(`"${name}" is not a valid name: lower-case letters, digits, '_' and '-', a letter first.`)
  }
  return undefined
}

/** All files of pipelines/, in order of their paths. Hidden files and editors' leftovers stay at home. */
const readFiles = (folder: string): { files: Array<SourceFile>; issues: Array<Issue> } => {
  const files: Array<SourceFile> = []
  const issues: Array<Issue> = []
  const root = join(folder, "pipelines")
  if (!existsSync(root)) return { files, issues }
  for (const entry of readdirSync(root, { recursive: true, encoding: "utf8" }).toSorted()) {
    const path = ["pipelines", ...entry.split(sep)].join("/")
    if (path.split("/").some((segment) => segment.startsWith(".")) || path.endsWith("~")) continue
    const stat = statSync(join(root, entry), { throwIfNoEntry: false })
    if (stat === undefined || !stat.isFile()) continue
    const layout = layoutIssue(path)
    if (layout !== undefined) {
      issues.push(layout)
      continue
    }
    if (stat.size > largestFile) {
      const message = "Is larger than 1 MiB. Data belongs into a landing zone: `rat upload --zone ZONE FILE`."
      issues.push({ path, code: "project.file_size", message })
      continue
    }
    try {
      files.push({ path, content: utf8.decode(readFileSync(join(root, entry))) })
    } catch {
      issues.push({ path, code: "project.encoding", message: "Is not UTF-8 text. Save it as UTF-8, or move it away." })
    }
  }
  return { files, issues }
}

/** The project in `start` or above it. */
export const loadProject = Effect.fnUntraced(function* (start: string, namespace?: string) {
  const folder = existsSync(start) ? findProjectFolder(resolve(start)) : undefined
  if (folder === undefined) {
    return yield* new CliFailure({
      message: `There is no ${settingsFile} in ${resolve(start)} or above it.`,
      next: "Make a project with `rat init NAME`, or go to the folder of one.",
      exitCode: ExitCode.usage,
    })
  }
  const { settings, issues } = readProjectSettings(folder)
  const read = readFiles(folder)
  const project: Project = {
    folder,
    settings: settings ?? { name: "", namespace: undefined, landingZones: [] },
    namespace: namespace ?? settings?.namespace ?? defaultNamespace,
    files: read.files,
    issues: [...issues, ...read.issues],
  }
  return project
})

/** `layer.name` of every pipeline that has files. */
export const pipelinesOf = (files: ReadonlyArray<SourceFile>): ReadonlyArray<string> => [
  ...new Set(files.map((file) => file.path.split("/").slice(1, 3).join("."))),
]

/** `layer.name` of the pipeline that a path lies in. */
export const pipelineOfPath = (path: string): string | undefined => {
  const [first, layer, name, rest] = path.split("/")
  return first === "pipelines" && rest !== undefined ? `${layer}.${name}` : undefined
}
