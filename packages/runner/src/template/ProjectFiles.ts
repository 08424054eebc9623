import { didYouMean, Layer, namePattern, type ProjectFile, ProjectIssue } from "@rat/domain"
import type { Issue } from "./Issue.ts"
import { isQualityTest } from "./QualityHeader.ts"

/** One pipeline's files of a project, by their path inside its folder. */
export interface ProjectPipeline {
  readonly layer: string
  readonly name: string
  /** `pipelines/silver/flights/`. */
  readonly folder: string
  readonly files: Map<string, string>
}

export interface ProjectLayout {
  readonly pipelines: ReadonlyArray<ProjectPipeline>
  /** Landing zones of which the project brings files. */
  readonly zones: ReadonlySet<string>
  readonly issues: ReadonlyArray<ProjectIssue>
}

const names = ["pipeline.sql", "config.yaml"]

export const issueAt = (path: string, issue: Issue): ProjectIssue => new ProjectIssue({ path, ...issue })

/** A file in a pipeline's folder that nothing would ever look at, though it seems to be meant for something. */
const misnamed = (path: string): Issue | null => {
  const name = path.split("/").at(-1) ?? ""
  if (path === "pipeline.py") {
    return {
      code: "file.python",
      message:
        "Python pipelines are not available yet: there is no sandbox for them. Write the pipeline in SQL (pipeline.sql).",
    }
  }
  if (names.includes(path) || isQualityTest(path) || path.startsWith("hooks/") || name.endsWith(".md")) return null
  if (path.endsWith(".sql") && path.startsWith("tests/")) {
    return { code: "file.name", message: "Quality tests belong in tests/quality/. Move the file there." }
  }
  if (path.endsWith(".sql")) {
    return {
      code: "file.name",
      message: `Nothing reads "${path}".${didYouMean(path, names)} A pipeline's code is pipeline.sql, its tests are in tests/quality/.`,
    }
  }
  if (name.endsWith(".meta.yaml")) return null
  if (/\.ya?ml$/i.test(path)) {
    return {
      code: "file.name",
      message: `Nothing reads "${path}".${didYouMean(path, names)} A pipeline's settings are in config.yaml.`,
    }
  }
  return null
}

/** Sorts the files of a project into pipelines; names and places that are wrong come back as issues. */
export const readLayout = (files: ReadonlyArray<ProjectFile>): ProjectLayout => {
  const pipelines = new Map<string, ProjectPipeline>()
  const zones = new Set<string>()
  const issues: Array<ProjectIssue> = []
  for (const { path, content } of files) {
    const [root, layer, name, ...rest] = path.split("/")
    if (root === "landing" && layer !== undefined && name !== undefined) zones.add(layer)
    if (root !== "pipelines") continue
    if (layer === undefined || name === undefined || rest.length === 0) {
      if (/\.(sql|ya?ml|py)$/.test(path)) {
        issues.push(
          issueAt(path, {
            code: "file.place",
            message: "A pipeline has a folder of its own: pipelines/<layer>/<name>/pipeline.sql. Move the file there.",
          }),
        )
      }
      continue
    }
    if (!Layer.literals.some((literal) => literal === layer)) {
      issues.push(
        issueAt(path, {
          code: "file.layer",
          message: `"${layer}" is no layer.${didYouMean(layer, Layer.literals)} There are: ${Layer.literals.join(", ")}.`,
        }),
      )
      continue
    }
    if (!namePattern.test(name)) {
      issues.push(
        issueAt(path, {
          code: "file.name",
          message: `"${name}" is no valid pipeline name: lower-case letters, digits, '_' and '-', first a letter, at most 128.`,
        }),
      )
      continue
    }
    const folder = `pipelines/${layer}/${name}/`
    const pipeline = pipelines.get(folder) ?? { layer, name, folder, files: new Map<string, string>() }
    pipelines.set(folder, pipeline)
    const inside = rest.join("/")
    pipeline.files.set(inside, content)
    const issue = misnamed(inside)
    if (issue !== null) issues.push(issueAt(path, issue))
  }
  return { pipelines: [...pipelines.values()], zones, issues }
}
