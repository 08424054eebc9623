import { Effect, Exit } from "effect"
import { describe, expect, it } from "vitest"
import { inOrder, pipelineGraph, withDownstream } from "./PipelineGraph.ts"

const project = (pipelines: Readonly<Record<string, string>>) => ({
  namespace: "shop",
  files: Object.entries(pipelines).map(([name, content]) => ({
    path: `pipelines/${name.replace(".", "/")}/pipeline.sql`,
    content,
  })),
})

const shop = project({
  "gold.revenue": `select * from {{ ref('silver.orders') }} join {{ ref("shop.silver.items") }} using (id)`,
  "silver.orders": "select * from {{ ref('bronze.orders') }}",
  "silver.items": "select * from {{ref( 'bronze.items' )}}",
  "bronze.orders": "select 1",
  "bronze.items": "-- like {{ ref('gold.revenue') }}\n{# {{ ref('gold.revenue') }} #} select 1",
})

describe("pipelineGraph", () => {
  it("finds what is read, with or without the project's own namespace, and not in comments", () => {
    const graph = pipelineGraph(shop)
    expect([...graph.get("gold.revenue")!].toSorted()).toEqual(["silver.items", "silver.orders"])
    expect([...graph.get("silver.items")!]).toEqual(["bronze.items"])
    expect([...graph.get("bronze.items")!]).toEqual([])
  })

  it("leaves out tables of other projects", () => {
    const graph = pipelineGraph(
      project({ "gold.x": "select * from {{ ref('other.silver.y') }}, {{ ref('silver.z') }}" }),
    )
    expect([...graph.get("gold.x")!]).toEqual([])
  })
})

describe("inOrder", () => {
  it("puts each pipeline behind those it reads, whatever the order of the files", async () => {
    const graph = pipelineGraph(shop)
    const ordered = await Effect.runPromise(inOrder(graph, graph.keys()))
    expect(ordered.length).toBe(5)
    for (const [pipeline, reads] of graph) {
      for (const read of reads) expect(ordered.indexOf(read)).toBeLessThan(ordered.indexOf(pipeline))
    }
  })

  it("keeps the order over pipelines that were not chosen", async () => {
    expect(await Effect.runPromise(inOrder(pipelineGraph(shop), ["gold.revenue", "bronze.items"]))).toEqual([
      "bronze.items",
      "gold.revenue",
    ])
  })

  it("refuses a circle and names its path", () => {
    const graph = pipelineGraph(
      project({
        "silver.a": "{{ ref('silver.b') }}",
        "silver.b": "{{ ref('silver.c') }}",
        "silver.c": "{{ ref('silver.a') }}",
      }),
    )
    const exit = Effect.runSyncExit(inOrder(graph, graph.keys()))
    expect(Exit.isFailure(exit) && String(exit.cause)).toContain("silver.a → silver.b → silver.c → silver.a")
  })
})

describe("withDownstream", () => {
  it("adds everything that reads the chosen ones, directly or not", () => {
    expect([...withDownstream(pipelineGraph(shop), ["bronze.items"])].toSorted()).toEqual([
      "bronze.items",
      "gold.revenue",
      "silver.items",
    ])
  })
})
