import { assert, describe, it } from "@effect/vitest"
import { type ChaosOptions, runChaos } from "./Chaos.ts"
import { failingSeeds } from "./FailingSeeds.ts"

/** CHAOS_SEED repeats the acts of an earlier test. */
const seed = Number(process.env.CHAOS_SEED ?? Date.now() % 1_000_000)

const check = async (options: ChaosOptions) => {
  const lines: Array<string> = []
  const report = await runChaos({ ...options, say: (line) => lines.push(line) })
  assert.deepStrictEqual(report.complaints, [], `${report.repeat}\n${report.logs}\n${lines.join("\n")}`)
  assert.isAbove(report.runs.succeeded ?? 0, options.runs / 3, report.repeat)
}

describe("a cluster whose parts are killed, stopped and cut off all the time", () => {
  it("loses nothing, does everything once and leaves nothing behind", { timeout: 240_000 }, () =>
    check({ seed, nodes: 3, runs: 120, acts: 25, pauseMs: 2_000, clientPauseMs: 2_000 }),
  )

  for (const { found, ...options } of failingSeeds) {
    it(`no longer shows: ${found} (seed ${options.seed})`, { timeout: 180_000 }, () =>
      check({ ...options, clientPauseMs: 600 }),
    )
  }
})
