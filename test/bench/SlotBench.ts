/**
 * Slots: what a holder waits for one that is ready, what a start costs, with and behind each part of the wall, and what a
 * death costs its neighbours. Without a server: the pool is the thing that is measured.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type SlotPool, type SlotPoolOptions, SlotPools } from "@rat/lakehouse"
import { ConfigProvider, Effect, References, type Scope } from "effect"
import { type Bench, type BenchResult, median, quantile } from "./Bench.ts"

const holdersPerRound = 200
const startsPerRound = 3

const withPools = <A>(
  wall: "auto" | "off",
  use: (
    make: (own: Partial<SlotPoolOptions>) => Effect.Effect<SlotPool, never, Scope.Scope>,
  ) => Effect.Effect<A, unknown, Scope.Scope>,
): Promise<A> => {
  const folder = mkdtempSync(join(tmpdir(), "rat-bench-"))
  return Effect.runPromise(
    Effect.flatMap(SlotPools, (pools) =>
      use((own) =>
        pools.make({
          name: "bench",
          size: 1,
          maxWaiting: 1_000,
          entry: new URL("../../packages/runner/src/sandbox/RunnerSlot.ts", import.meta.url),
          folder,
          memoryLimitBytes: 512 * 2 ** 20,
          spillLimitBytes: 2 ** 30,
          threads: 2,
          limits: { memoryBytes: 2 * 2 ** 30 },
          recycleAfter: 1_000_000,
          cancelGraceMs: 2_000,
          ...own,
        }),
      ),
    ).pipe(
      Effect.scoped,
      Effect.provide(SlotPools.layer),
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({ RAT_SLOT_WALL: wall })),
      Effect.provideService(References.MinimumLogLevel, "None"),
    ),
  ).finally(() => rmSync(folder, { recursive: true, force: true }))
}

/** Executes SQL as a run does, so that there is something to forget. */
const work = (slot: Effect.Success<SlotPool["acquire"]>) =>
  Effect.andThen(
    slot.call("render", {
      context: {
        namespace: "default",
        layer: "bronze",
        name: "bench",
        hasTable: false,
        landingFolder: join(slot.folder, "in", "landing"),
        runId: "00000000-0000-7000-8000-000000000000",
        runStartedAt: "2026-01-01T00:00:00.000Z",
        watermarkValue: null,
        flags: {},
      },
      code: { path: "pipeline.sql", source: "select i from range(1000) t(i)" },
      tests: [],
    }),
    slot.call("execute", { home: "default", views: [], memoryLimitBytes: null }),
  )

/** Milliseconds from asking for a slot to its first answer, holder after holder. */
const waits = (pool: SlotPool, holders: number, pauseMs: number) =>
  Effect.gen(function* () {
    const times: Array<number> = []
    for (let holder = 0; holder < holders; holder++) {
      const started = performance.now()
      yield* Effect.scoped(
        Effect.gen(function* () {
          const slot = yield* pool.acquire
          times.push(performance.now() - started)
          yield* work(slot)
        }),
      )
      if (pauseMs > 0) yield* Effect.sleep(pauseMs)
    }
    return times
  })

/** Wall time from nothing to a slot that answers, and processor time of all it took. */
const starts = (wall: "auto" | "off", count: number) =>
  withPools(wall, (make) =>
    Effect.gen(function* () {
      yield* Effect.scoped(Effect.flatMap(make({}), (pool) => pool.acquire)) // finds out which wall there is
      const times: Array<number> = []
      for (let start = 0; start < count; start++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const started = performance.now()
            const pool = yield* make({ name: `start${start}` })
            yield* pool.acquire
            times.push(performance.now() - started)
          }),
        )
      }
      return times
    }),
  )

export const bench: Bench = async ({ rounds, say }) => {
  const results: Array<BenchResult> = []
  const spread = (name: string, times: ReadonlyArray<number>, bar?: number) => {
    const limit = bar === undefined ? {} : ({ bar, better: "less" } as const)
    results.push({ name: `${name}_ms_p50`, value: median(times), unit: "ms" })
    results.push({ name: `${name}_ms_p99`, value: quantile(times, 0.99), unit: "ms", ...limit })
    say(`${name}: p50 ${median(times).toFixed(2)} ms, p99 ${quantile(times, 0.99).toFixed(2)} ms`)
  }
  const holders = holdersPerRound * rounds

  const [walled, bare] = [await starts("auto", startsPerRound * rounds), await starts("off", startsPerRound * rounds)]
  spread("slot_cold_start", walled)
  spread("slot_cold_start_without_wall", bare)

  await withPools("auto", (make) =>
    Effect.gen(function* () {
      // As long as there is one that waits: two slots, one holder at a time.
      const calm = yield* make({ name: "calm", size: 2 })
      yield* waits(calm, 20, 0)
      spread("slot_warm_start", yield* waits(calm, holders, 2), 10)
      // The next holder waits for the slot to have forgotten the one before: the reset is in it.
      const busy = yield* make({ name: "busy", size: 1 })
      yield* waits(busy, 20, 0)
      spread("slot_back_to_back", yield* waits(busy, holders, 0), 10)
      // The holder's process dies, and the spare takes its place. Deaths are as far apart as a spare needs.
      const restMs = Math.max(1_000, 3 * median(walled))
      const dying = yield* make({ name: "dying", size: 1, spares: 1 })
      yield* waits(dying, 20, 0)
      yield* Effect.sleep(2_000 + restMs)
      const times: Array<number> = []
      for (let death = 0; death < 2 * rounds; death++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const slot = yield* dying.acquire
            if (slot.pid !== undefined) process.kill(slot.pid, "SIGKILL")
            yield* Effect.ignore(slot.call("noop", null))
          }),
        )
        times.push(...(yield* waits(dying, 1, restMs)))
      }
      spread("slot_after_a_death", times, 10)
    }),
  )
  results.push({ name: "slot_wall_costs", value: median(walled) - median(bare), unit: "ms" })
  return results
}
