import { Effect } from "effect"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { type Project, pipelinesOf } from "./Project.ts"

/** Which pipelines of a project read which others: `layer.name` → the `layer.name`s that it reads. */
export type PipelineGraph = ReadonlyMap<string, ReadonlySet<string>>

const reference = /\bref\(\s*(['"])([^'"]+)\1\s*\)/g

/** Comments do not make dependencies. */
const withoutComments = (sql: string) => sql.replaceAll(/\{#[\s\S]*?#\}/g, "").replaceAll(/--.*$/gm, "")

/** Read from the literal `ref('…')` of each pipeline.sql. Tables outside of the project are not in it. */
export const pipelineGraph = (project: Pick<Project, "files" | "namespace">): PipelineGraph => {
  const pipelines = pipelinesOf(project.files)
  const graph = new Map<string, ReadonlySet<string>>()
  for (const pipeline of pipelines) {
    const path = `pipelines/${pipeline.replace(".", "/")}/pipeline.sql`
    const sql = project.files.find((file) => file.path === path)?.content ?? ""
    const reads = [...withoutComments(sql).matchAll(reference)]
      .map((match) => match[2]!.replace(new RegExp(`^${project.namespace}\\.`), ""))
      .filter((name) => pipelines.includes(name) && name !== pipeline)
    graph.set(pipeline, new Set(reads))
  }
  return graph
}

/** `chosen` and everything that reads it, directly or not. */
export const withDownstream = (graph: PipelineGraph, chosen: Iterable<string>): ReadonlySet<string> => {
  const found = new Set(chosen)
  let size = -1
  while (size !== found.size) {
    size = found.size
    for (const [pipeline, reads] of graph) {
      if ([...reads].some((read) => found.has(read))) found.add(pipeline)
    }
  }
  return found
}

/** `chosen` so that each comes behind those it reads. Fails with the path of a circle. */
export const inOrder = (
  graph: PipelineGraph,
  chosen: Iterable<string>,
): Effect.Effect<ReadonlyArray<string>, CliFailure> => {
  const wanted = new Set(chosen)
  const ordered: Array<string> = []
  const done = new Set<string>()
  let circle: ReadonlyArray<string> | undefined
  const visit = (pipeline: string, trail: ReadonlyArray<string>): void => {
    if (done.has(pipeline) || circle !== undefined) return
    if (trail.includes(pipeline)) {
      circle = [...trail.slice(trail.indexOf(pipeline)), pipeline]
      return
    }
    for (const read of graph.get(pipeline) ?? []) visit(read, [...trail, pipeline])
    done.add(pipeline)
    if (wanted.has(pipeline)) ordered.push(pipeline)
  }
  for (const pipeline of wanted) visit(pipeline, [])
  return circle === undefined
    ? Effect.succeed(ordered)
    : Effect.fail(
        new CliFailure({
          message: `These pipelines read each other in a circle: ${circle.join(" → ")}.`,
          next: "Take one of these ref()s out.",
          exitCode: ExitCode.failed,
        }),
      )
}
