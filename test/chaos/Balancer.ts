import { setTimeout as delay } from "node:timers/promises"
import type { ClusterNode } from "./ClusterNode.ts"

/** How often a balancer asks each node whether it is ready, and how long it waits for the answer. */
const intervalMs = 100
const answerMs = 5_000

/** Sends each request to one of the nodes that said they are ready when they were last asked, in turn, and never twice. */
export const startBalancer = (nodes: ReadonlyArray<ClusterNode>) => {
  const ready = new Set<ClusterNode>()
  let isOver = false
  let turn = 0
  const watch = async (node: ClusterNode) => {
    while (!isOver) {
      const isReady = await fetch(`${node.url}/health/ready`, { signal: AbortSignal.timeout(answerMs) }).then(
        async (response) => {
          await response.arrayBuffer()
          return response.ok
        },
        () => false,
      )
      if (isReady) ready.add(node)
      else ready.delete(node)
      await delay(intervalMs)
    }
  }
  const watching = Promise.all(nodes.map(watch))
  return {
    /** The next node; undefined: none is ready. */
    next: (): ClusterNode | undefined => {
      const candidates = nodes.filter((node) => ready.has(node))
      turn += 1
      return candidates[turn % Math.max(1, candidates.length)]
    },
    close: async () => {
      isOver = true
      await watching
    },
  }
}
