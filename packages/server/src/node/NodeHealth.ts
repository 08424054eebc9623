import { mainRef } from "@rat/domain"
import { Catalog, ObjectStore, Pg } from "@rat/lakehouse"
import { Effect, Layer, Schema } from "effect"
import { RunnerClient } from "../project/RunnerClient.ts"
import { QueryClient } from "../query/QueryClient.ts"
import { HealthChecks } from "../system/HealthChecks.ts"

class NoSlots extends Schema.TaggedError<NoSlots>()("NoSlots", { role: Schema.String }) {
  override get message() {
    return `The ${this.role} role has no slot processes at the moment.`
  }
}

const slotsOf = (role: string, health: Effect.Effect<{ readonly size: number }, unknown>) =>
  Effect.flatMap(health, ({ size }) => (size > 0 ? Effect.succeed({}) : Effect.fail(new NoSlots({ role }))))

/** What a node with all roles depends on, by the names that `/health/ready` shows. */
export const nodeHealth = Layer.effect(
  HealthChecks,
  Effect.gen(function* () {
    const postgres = yield* Pg
    const store = yield* ObjectStore
    const catalog = yield* Catalog
    const runner = yield* RunnerClient
    const query = yield* QueryClient
    return [
      { name: "postgres", check: Effect.as(postgres.ping, {}) },
      { name: "object_store", check: store.health },
      { name: "catalog", check: Effect.as(catalog.ref(mainRef), {}) },
      { name: "runner", check: slotsOf("runner", runner.Health()) },
      { name: "query", check: slotsOf("query", query.Health()) },
    ]
  }),
)
