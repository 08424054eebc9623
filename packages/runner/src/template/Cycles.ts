/** Edges of a graph by node; targets that are no nodes of it are ignored. */
export type Graph = ReadonlyMap<string, ReadonlyArray<string>>

/**
 * Cycles of a graph, each once, as the nodes along it (the first is not repeated at the end). Every edge that closes a
 * cycle on the way of a depth-first search gives one, so a graph without cycles gives none and one with cycles at least one.
 */
export const findCycles = (graph: Graph): ReadonlyArray<ReadonlyArray<string>> => {
  const cycles: Array<ReadonlyArray<string>> = []
  const done = new Set<string>()
  for (const start of graph.keys()) {
    if (done.has(start)) continue
    // Explicit stack: projects may be deeper than the call stack.
    const path: Array<{ readonly node: string; next: number }> = [{ node: start, next: 0 }]
    const depth = new Map([[start, 0]])
    while (path.length > 0) {
      const top = path.at(-1)!
      const target = graph.get(top.node)?.[top.next++]
      if (target === undefined) {
        path.pop()
        depth.delete(top.node)
        done.add(top.node)
      } else {
        const at = depth.get(target)
        if (at !== undefined) cycles.push(path.slice(at).map(({ node }) => node))
        else if (graph.has(target) && !done.has(target)) {
          depth.set(target, path.length)
          path.push({ node: target, next: 0 })
        }
      }
    }
  }
  return cycles
}
