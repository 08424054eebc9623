import type { Cluster } from "../Cluster.ts"

/** Of a cluster that runs and is at rest: each node's folders of slots are those of its newest life. */
export const checkSlots = (cluster: Cluster): ReadonlyArray<string> =>
  cluster.nodes.flatMap((node) =>
    node
      .files()
      .slots.flatMap((slot) =>
        slot.split(/[^0-9]+/).includes(String(node.pid()))
          ? []
          : [`node ${node.name} (process ${node.pid()}) kept the folder of slot ${slot} of an earlier life`],
      ),
  )

/** Of a cluster that has stopped: nothing is left of any node's lives. */
export const checkLeftovers = (cluster: Cluster): ReadonlyArray<string> =>
  cluster.nodes.flatMap((node) => {
    const { slots, temporary } = node.files()
    return [
      ...node.left().map((left) => `node ${node.name} left a process: ${left}`),
      ...slots.map((slot) => `node ${node.name} left the folder of slot ${slot}`),
      ...temporary.map((file) => `node ${node.name} left a temporary file: ${file}`),
    ]
  })
