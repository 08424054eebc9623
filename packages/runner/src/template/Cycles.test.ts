import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { findCycles } from "./Cycles.ts"

const graphOf = (edges: ReadonlyArray<readonly [number, number]>) => {
  const graph = new Map<string, Array<string>>()
  for (const [from, to] of edges) {
    graph.set(`${from}`, [...(graph.get(`${from}`) ?? []), `${to}`])
    if (!graph.has(`${to}`)) graph.set(`${to}`, [])
  }
  return graph
}

describe("Cycles", () => {
  it("are found with the way around them", () => {
    assert.deepStrictEqual(
      findCycles(
        graphOf([
          [1, 2],
          [2, 3],
          [3, 1],
          [3, 4],
        ]),
      ),
      [["1", "2", "3"]],
    )
  })

  it("are not there in a graph whose edges all lead upwards", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(30), fc.nat(30))), (pairs) => {
        const upwards = pairs.filter(([a, b]) => a !== b).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const)
        assert.deepStrictEqual(findCycles(graphOf(upwards)), [])
      }),
    )
  })

  it("are ways along the graph's edges, and one is found whenever an edge leads back", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(12), fc.nat(12)), { minLength: 1 }), (edges) => {
        const graph = graphOf(edges)
        const cycles = findCycles(graph)
        for (const cycle of cycles) {
          cycle.forEach((node, index) => {
            assert.include(graph.get(node) ?? [], cycle[(index + 1) % cycle.length])
          })
        }
        // Repeatedly taking away nodes that lead nowhere leaves exactly what lies on or before a cycle.
        const left = new Map(graph)
        for (let before = -1; before !== left.size; ) {
          before = left.size
          for (const [node, targets] of left) if (!targets.some((target) => left.has(target))) left.delete(node)
        }
        assert.strictEqual(cycles.length > 0, left.size > 0)
      }),
    )
  })
})
