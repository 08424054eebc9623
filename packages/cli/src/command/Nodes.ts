import type { Answer } from "@rat/client"
import { Effect } from "effect"
import { Command } from "effect/cli"
import { connect, connectionFlags, request } from "../option/Connection.ts"
import { formatOf, type ListingColumn, outputFlags, printListing } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { timeText } from "../output/Quantity.ts"
import { paintStatus } from "../output/Style.ts"

type Node = Answer<"cluster", "get">["nodes"][number]

const slotsText = (slots: { readonly size: number; readonly free: number } | undefined) =>
  slots === undefined ? "" : `${slots.size - slots.free}/${slots.size}`

const columns: ReadonlyArray<ListingColumn<Node>> = [
  { title: "node", cell: (node) => (node.is_self ? `${node.id} *` : node.id) },
  { title: "roles", cell: (node) => node.roles.join(",") },
  { title: "status", cell: (node) => (node.health === "ok" ? node.status : node.health), paint: paintStatus },
  { title: "version", cell: (node) => node.version },
  { title: "runs", cell: (node) => node.running, isNumber: true },
  { title: "run slots", cell: (node) => slotsText(node.slots.runner), isNumber: true },
  { title: "query slots", cell: (node) => slotsText(node.slots.query), isNumber: true },
  { title: "shards", cell: (node) => node.shards, isNumber: true },
  { title: "started", cell: (node) => timeText(node.started_at) },
  { title: "url", cell: (node) => node.url },
]

export const nodes = Command.make(
  "nodes",
  { ...outputFlags, ...connectionFlags },
  Effect.fn(function* (choice) {
    const client = yield* connect(choice)
    const cluster = yield* request((signal) => client.cluster.get({ signal }))
    const format = formatOf(choice)
    yield* printListing(format, columns, cluster.nodes, cluster)
    if (format !== "table") return
    const output = yield* Output
    for (const role of cluster.missing_roles) {
      yield* output.note(`No node has the role ${role}: what it does waits. \`rat serve --roles ${role}\` starts one.`)
    }
  }),
).pipe(
  Command.withDescription("List the nodes of the cluster with their roles, slots, shards, versions and health"),
  Command.withShortDescription("List the nodes of the cluster"),
  Command.withExamples([{ command: "rat nodes", description: "The node that answers is marked with *" }]),
)
