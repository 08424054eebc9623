import { layer } from "@effect/vitest"
import { Cause, Effect, Layer } from "effect"
import { catalogMigrations } from "../catalog/CatalogMigrations.ts"
import { PostgresCatalog } from "../catalog/PostgresCatalog.ts"
import { Rebase } from "../catalog/Rebase.ts"
import { randomOf } from "../maintenance/TestTable.ts"
import { TestPostgres } from "../postgres/TestPostgres.ts"
import { TestMerges } from "../write/TestMerge.ts"
import { makeLakehouseModel } from "./LakehouseModel.ts"

/** RAT_MODEL_SEED repeats a failure, RAT_MODEL_STEPS makes the test longer. */
const seed = Number(process.env.RAT_MODEL_SEED ?? Date.now() % 1_000_000)
const steps = Number(process.env.RAT_MODEL_STEPS ?? 150)

const Test = Rebase.layer.pipe(
  Layer.provideMerge(Layer.mergeAll(PostgresCatalog.layer, TestMerges)),
  Layer.provideMerge(TestPostgres.layer(catalogMigrations)),
)

layer(Test, { excludeTestServices: true })("A lakehouse and its model", (it) => {
  it.effect(
    `agree after any sequence of runs, evolutions, maintenance and branch operations (RAT_MODEL_SEED=${seed})`,
    () =>
      Effect.gen(function* () {
        const model = yield* makeLakehouseModel("model", randomOf(seed))
        for (let at = 0; at < steps; at++) {
          yield* model.step.pipe(
            Effect.catchCause((cause) =>
              Effect.die(
                new Error(
                  `RAT_MODEL_SEED=${seed} RAT_MODEL_STEPS=${at + 1}: ${Cause.pretty(cause)}\nafter\n${model.log.slice(-25).join("\n")}`,
                ),
              ),
            ),
          )
        }
        yield* model.lookEverywhere
      }),
    60_000 + steps * 1_000,
  )
})
