import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { runChaos } from "./Chaos.ts"

/** CHAOS_SEED repeats the acts of an earlier test, CHAOS_DECKS makes it longer. */
const seed = Number(process.env.CHAOS_SEED ?? Date.now() % 1_000_000)
const decks = Number(process.env.CHAOS_DECKS ?? 1)

describe("runs of a server whose parts are killed all the time", () => {
  it("end, once each, and leave nothing behind", { timeout: 60_000 + decks * 60_000 }, async () => {
    const root = mkdtempSync(join(tmpdir(), "rat-chaos-"))
    // Postgres does not run as root: it has to get through to the data.
    chmodSync(root, 0o711)
    try {
      const temporary = join(root, "tmp")
      mkdirSync(temporary)
      const env = {
        TMPDIR: temporary,
        RAT_LEASE_SECONDS: "2",
        RAT_RUNNER_SLOTS: "2",
        RAT_RUNNER_MEMORY_LIMIT: "512MiB",
        RAT_RUNS_MAX_PER_PIPELINE: "1000000",
      }
      const { complaints, runs } = await runChaos({ data: join(root, "data"), seed, decks, pauseMs: 400, env })
      assert.deepStrictEqual(complaints, [], `repeat with CHAOS_SEED=${seed} (runs: ${JSON.stringify(runs)})`)
      assert.isAbove(runs.succeeded ?? 0, 20, `CHAOS_SEED=${seed}`)
      // Node's own cache of compiled modules may be there.
      assert.deepStrictEqual(
        readdirSync(temporary).filter((name) => name !== "node-compile-cache"),
        [],
      )
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  })
})
