import type { Cluster } from "../Cluster.ts"

/** Of a cluster that runs and is at rest: there are exactly the folders of the slots that live. */
export const checkSlots = (cluster: Cluster): ReadonlyArray<string> =>
  cluster.nodes.flatMap((node) => {
    const { slots } = node.files()
    const live = node.slots().length
    return slots.length === live
      ? []
      : [`node ${node.name} has ${live} slots and ${slots.length} folders: ${slots.join()}`]
  })

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
