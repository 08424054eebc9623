import {
  FilePath,
  fileTypeOf,
  Layer as LayerName,
  type NamespaceName,
  namePattern,
  type PipelineType,
  type ProjectFile,
  ProjectInvalid,
  ProjectIssue,
  type Queueing,
} from "@rat/domain"
import { Schema } from "effect"

/** What a push means, worked out from its files alone: nothing here reads or writes anything. */

export interface PushedFile {
  /** Inside the namespace. */
  readonly path: string
  /** With the namespace. */
  readonly fullPath: FilePath
  readonly content: string
  /** What it says of how its pipeline's runs queue. */
  readonly queueing?: Queueing | undefined
}

export interface PushedPipeline {
  readonly layer: LayerName
  readonly name: string
  readonly type: PipelineType
}

export interface ProjectPush {
  readonly files: ReadonlyArray<PushedFile>
  readonly pipelines: ReadonlyArray<PushedPipeline>
  readonly zones: ReadonlyArray<string>
}

const isFilePath = Schema.is(FilePath)
const isLayer = Schema.is(LayerName)

const issue = (path: string, code: string, message: string) => new ProjectIssue({ path, code, message })

/** Where a pushed file belongs, or why nowhere. */
const placeOf = (path: string): { readonly layer: LayerName; readonly name: string } | ProjectIssue => {
  const [area, layer = "", name = "", ...rest] = path.split("/")
  if (area !== "pipelines" || rest.length === 0) {
    return issue(
      path,
      "path.invalid",
      "Files of a project lie in pipelines/<layer>/<name>/. Move it there or leave it out.",
    )
  }
  if (!isLayer(layer)) {
    return issue(path, "path.layer", `"${layer}" is not a layer. Layers are ${LayerName.literals.join(", ")}.`)
  }
  if (!namePattern.test(name)) {
    return issue(
      path,
      "path.name",
      `"${name}" is not a pipeline name: it must start with a lower-case letter and hold at most 128 lower-case letters, digits, '_' and '-'.`,
    )
  }
  return { layer, name }
}

/** The push, or every problem of its paths and names at once. */
export const readPush = (
  namespace: NamespaceName,
  sent: ReadonlyArray<ProjectFile>,
  zones: ReadonlyArray<string>,
): ProjectPush | ProjectInvalid => {
  const issues: Array<ProjectIssue> = []
  const files: Array<PushedFile> = []
  const pipelines = new Map<string, PushedPipeline>()
  const seen = new Set<string>()
  for (const file of sent) {
    const fullPath = `${namespace}/${file.path}`
    if (!isFilePath(fullPath)) {
      issues.push(
        issue(file.path, "path.invalid", "must be a relative path without '..', empty segments, backslashes or NUL."),
      )
      continue
    }
    if (seen.has(file.path)) {
      issues.push(issue(file.path, "path.duplicate", "is in the push twice."))
      continue
    }
    seen.add(file.path)
    const place = placeOf(file.path)
    if (place instanceof ProjectIssue) {
      issues.push(place)
      continue
    }
    files.push({ path: file.path, fullPath, content: file.content })
    const key = `${place.layer}.${place.name}`
    const type = fileTypeOf(fullPath) === "pipeline-py" ? "python" : "sql"
    const known = pipelines.get(key)
    if (known === undefined || type === "python") pipelines.set(key, { ...place, type })
  }
  for (const zone of zones) {
    if (!namePattern.test(zone)) {
      issues.push(
        issue(
          "landing_zones",
          "zone.name",
          `"${zone}" is not a landing zone name: it must start with a lower-case letter and hold at most 128 lower-case letters, digits, '_' and '-'.`,
        ),
      )
    }
  }
  if (issues.length > 0) return new ProjectInvalid({ issues })
  return { files, pipelines: [...pipelines.values()], zones: [...new Set(zones)] }
}
