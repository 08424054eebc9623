import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type SimReport, simulate } from "./Simulation.ts"

/** `RAT_SIM_SEED=x-17` repeats one schedule; `RAT_SIM_SCHEDULES` says how many there are. */
const only = process.env.RAT_SIM_SEED
const schedules = Number(process.env.RAT_SIM_SCHEDULES ?? 300)
const family = process.env.RAT_SIM_FAMILY ?? "steady"
const seeds = only === undefined ? Array.from({ length: schedules }, (_, index) => `${family}-${index}`) : [only]

describe("Simulation", () => {
  it(
    "whatever is killed, stopped, lost and delayed: each run ends, once, and the table is the sum of those that succeeded",
    async () => {
      const reports: Array<SimReport> = []
      for (const seed of seeds) {
        const report = await Effect.runPromise(simulate(seed)).catch((error: unknown) => {
          throw new Error(
            `seed ${seed} (RAT_SIM_SEED=${seed} repeats it): ${error instanceof Error ? error.message : error}`,
            {
              cause: error,
            },
          )
        })
        reports.push(report)
      }
      const sum = (field: "runs" | "kills" | "pauses" | "claims" | "takenBack" | "refused") =>
        reports.reduce((total, report) => total + report[field], 0)
      console.log(
        `${reports.length} schedules: ${sum("runs")} runs, ${sum("claims")} claims, ${sum("kills")} kills, ${sum("pauses")} pauses, ${sum("takenBack")} taken back, ${sum("refused")} late words refused`,
      )
      // It would prove nothing if nothing happened.
      if (only === undefined && schedules >= 100) {
        for (const field of ["kills", "pauses", "takenBack", "refused"] as const)
          assert.isAbove(sum(field), schedules / 10)
      }
    },
    60_000 + 500 * schedules,
  )

  it("the same seed is the same schedule", async () => {
    const [first, second] = [await Effect.runPromise(simulate("twice")), await Effect.runPromise(simulate("twice"))]
    assert.deepStrictEqual(first, second)
  })
})
