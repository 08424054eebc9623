import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { Effect } from "effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { flightsProject } from "../demo/FlightsData.ts"
import { projectTemplate } from "../init/ProjectTemplate.ts"
import { inOrder, pipelineGraph } from "./PipelineGraph.ts"
import { loadProject } from "./Project.ts"

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "rat-project-"))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const write = (path: string, content: string | Uint8Array) => {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), content)
}

describe("a project folder", () => {
  it("is found from any folder inside it, and brings its text files but no hidden ones", async () => {
    write("rat.yaml", "name: shop\n")
    write("pipelines/silver/orders/pipeline.sql", "select 1")
    write("pipelines/silver/orders/.pipeline.sql.swp", "x")
    write("pipelines/silver/orders/tests/quality/t.sql", "select 1")
    write("notes.md", "not pushed")
    const project = await Effect.runPromise(loadProject(join(folder, "pipelines/silver")))
    expect(project.folder).toBe(folder)
    expect(project.namespace).toBe("default")
    expect(project.issues).toEqual([])
    expect(project.files.map((file) => file.path)).toEqual([
      "pipelines/silver/orders/pipeline.sql",
      "pipelines/silver/orders/tests/quality/t.sql",
    ])
  })

  it("tells all that can be seen without a server: wrong layers, names, places, sizes and encodings", async () => {
    write("rat.yaml", "name: shop\nnope: 1\n")
    write("pipelines/sliver/orders/pipeline.sql", "select 1")
    write("pipelines/silver/My Orders/pipeline.sql", "select 1")
    write("pipelines/readme.md", "x")
    write("pipelines/silver/a/pipeline.sql", Uint8Array.of(0xff, 0xfe, 0x00))
    write("pipelines/silver/b/data.csv", "x".repeat(1024 * 1024 + 1))
    const { issues } = await Effect.runPromise(loadProject(folder))
    expect(issues.map((issue) => issue.code).toSorted()).toEqual([
      "project.encoding",
      "project.file_size",
      "project.layout",
      "project.layout",
      "project.layout",
      "project.unknown_key",
    ])
    expect(issues.find((issue) => issue.path.includes("sliver"))!.message).toContain('Did you mean "silver"?')
  })

  it("that is none says how to make one", async () => {
    const failure = await Effect.runPromise(Effect.flip(loadProject(folder)))
    expect(failure.exitCode).toBe(2)
    expect(failure.next).toContain("rat init")
  })
})

describe("the projects that RAT brings", () => {
  it("the template and the example have no issues and an order to run in", async () => {
    for (const file of projectTemplate("shop", "default")) write(file.path, file.content)
    for (const start of [folder, flightsProject]) {
      const project = await Effect.runPromise(loadProject(start))
      expect(project.issues).toEqual([])
      const graph = pipelineGraph(project)
      const ordered = await Effect.runPromise(inOrder(graph, graph.keys()))
      expect(ordered[0]).toMatch(/^bronze\./)
      expect(ordered.at(-1)).toMatch(/^gold\./)
    }
  })
})
