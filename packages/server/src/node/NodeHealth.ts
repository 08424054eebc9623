import { mainRef, Role, type SlotHealth } from "@rat/domain"
import { Catalog, circuitOf, type DependencyName, ObjectStore, Outbound, Pg } from "@rat/lakehouse"
import { Effect, Layer, Schema } from "effect"
import { NodeIdentity } from "../cluster/NodeIdentity.ts"
import { NodeRegistry } from "../cluster/NodeRegistry.ts"
import { RunnerClient } from "../project/RunnerClient.ts"
import { QueryClient } from "../query/QueryClient.ts"
import { type HealthCheck, HealthChecks } from "../system/HealthChecks.ts"

class NoSlots extends Schema.TaggedError<NoSlots>()("NoSlots", { role: Schema.String, problem: Schema.String }) {
  override get message() {
    return this.problem === "" ? `The ${this.role} role has no slot processes at the moment.` : this.problem
  }
}

class Draining extends Schema.TaggedError<Draining>()("Draining", {}) {
  override get message() {
    return "This node is told to stop: it ends what it has in hand and takes no more."
  }
}

class HeldBack extends Schema.TaggedError<HeldBack>()("HeldBack", { reason: Schema.String }) {
  override get message() {
    return `It did not answer lately, so calls are held back: ${this.reason}`
  }
}

const slotsOf = (role: string, health: Effect.Effect<Pick<SlotHealth, "size" | "problem">, unknown>) =>
  Effect.flatMap(health, ({ size, problem }) =>
    size > 0 && (problem ?? null) === null ? Effect.void : Effect.fail(new NoSlots({ role, problem: problem ?? "" })),
  )

/**
 * What a node depends on, by the names that `/health/ready` shows, and which roles stand still without it:
 *
 * | away | stands still | goes on |
 * | --- | --- | --- |
 * | postgres | everything | liveness, metrics |
 * | object_store | runner, query | api: whatever is a row (runs are accepted and wait, pipelines, history); control |
 * | catalog (Nessie) | runner, query | the same; with the Postgres catalog it goes with postgres |
 * | runner, query (their slots, or the nodes that have them) | that role | everything else; runs wait, queries get 503 |
 * | node (draining) | everything | what is in hand |
 * | other_nodes, collector | nothing | they are passed over |
 */
export const nodeHealth = Layer.effect(
  HealthChecks,
  Effect.gen(function* () {
    const { id, roles } = yield* NodeIdentity
    const registry = yield* NodeRegistry
    const postgres = yield* Pg
    const store = yield* ObjectStore
    const catalog = yield* Catalog
    const runner = yield* RunnerClient
    const query = yield* QueryClient
    const { dependencies } = yield* Outbound
    const circuit = (name: DependencyName) => Effect.sync(() => circuitOf(dependencies, name))

    /** Dependencies that nobody asks for the sake of asking: what their circuits know is enough. */
    const heardOf = (name: DependencyName, shown: string, impact: string): HealthCheck => ({
      name: shown,
      check: Effect.suspend(() => {
        for (const dependency of dependencies) {
          if (dependency.name === name && dependency.circuit.state === "open") {
            return Effect.fail(new HeldBack({ reason: `${dependency.endpoint}: ${dependency.circuit.lastFailure}` }))
          }
        }
        return Effect.void
      }),
      circuit: circuit(name),
      blocks: [],
      impact,
    })

    const checks: ReadonlyArray<HealthCheck> = [
      {
        name: "node",
        check: Effect.flatMap(registry.nodes, (nodes) =>
          // Before its first announcement, which names its address, a node's row says so too.
          nodes.some(({ id: other, status, url }) => other === id && status === "draining" && url !== "")
            ? Effect.fail(new Draining())
            : Effect.void,
        ),
        blocks: Role.literals,
        impact: "New requests and runs belong to other nodes.",
      },
      {
        name: "postgres",
        check: postgres.ping,
        circuit: circuit("postgres"),
        blocks: Role.literals,
        impact: "Requests get 503 and may be repeated; runs wait where they are.",
      },
      {
        name: "object_store",
        check: store.health,
        circuit: circuit("object_store"),
        blocks: ["runner", "query"],
        impact: "Uploads, saved code and queries get 503; runs are accepted and wait or are tried again.",
      },
      {
        name: "catalog",
        check: catalog.ref(mainRef),
        circuit: circuit("nessie"),
        blocks: ["runner", "query"],
        impact: "Tables and branches get 503; runs are accepted and wait or are tried again.",
      },
      {
        name: "runner",
        check: slotsOf("runner", runner.Health()),
        blocks: ["runner"],
        impact: "Runs are accepted and wait until a runner is there.",
      },
      {
        name: "query",
        check: slotsOf("query", query.Health()),
        blocks: ["query"],
        impact: "Queries and previews get 503; everything else works.",
      },
      heardOf("rpc", "other_nodes", "Nodes that do not answer are passed over; their runs go to others."),
      heardOf("otlp", "collector", "Traces, metrics and logs of this time are lost to the collector; /metrics works."),
    ]
    return { roles, checks }
  }),
)
