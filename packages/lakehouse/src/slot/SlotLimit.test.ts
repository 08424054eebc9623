import { existsSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type { Slot, SlotPoolOptions } from "./SlotPool.ts"
import { held, isAlive, pidOf, until, withPool } from "./TestPool.ts"

const engine = new URL("./TestEngineSlot.ts", import.meta.url)
const MiB = 2 ** 20

/** What an offender does, what the pool allows, what its holder is told, and whether the process has to die for it. */
interface Offence {
  readonly name: string
  readonly options: Partial<SlotPoolOptions>
  readonly op: string
  readonly args: unknown
  readonly code: string
  readonly says: RegExp
  readonly dies: boolean
}

const offences: ReadonlyArray<Offence> = [
  {
    name: "SQL that allocates what the engine does not count",
    // One list of everything: the engine's own limit, far higher here than the process's, does not see it coming.
    options: {
      entry: engine,
      memoryLimitBytes: 4_000 * MiB,
      limits: { memoryBytes: 400 * MiB },
      limitSettings: { memory: "RAT_X" },
    },
    op: "sql",
    args: "select len(list(repeat(i::varchar, 20))) from range(50_000_000) t(i)",
    code: "limit.memory",
    says: /more than 400 MiB of memory.*RAT_X/,
    dies: true,
  },
  {
    name: "code that allocates outside of any engine",
    options: { limits: { memoryBytes: 300 * MiB } },
    op: "allocate",
    args: 600,
    code: "limit.memory",
    says: /more than 300 MiB of memory/,
    dies: true,
  },
  {
    name: "SQL that spins",
    options: { entry: engine, limits: { cpuMs: 300 }, limitSettings: { cpu: "RAT_Y" } },
    op: "sql",
    args: "select count(*) from range(1_000_000) a(i), range(1_000_000) b(j) where (i * j) % 7 = 3",
    code: "limit.cpu",
    says: /after 0\.3 s of processor time.*RAT_Y/,
    dies: false,
  },
  {
    name: "code that spins and looks at nothing",
    options: { limits: { cpuMs: 200 }, cancelGraceMs: 100 },
    op: "block",
    args: null,
    code: "limit.cpu",
    says: /after 0\.2 s of processor time/,
    dies: true,
  },
  {
    name: "SQL that spills more than its disk holds",
    options: {
      entry: engine,
      memoryLimitBytes: 100 * MiB,
      spillLimitBytes: 10_000 * MiB,
      limits: { diskBytes: 60 * MiB },
    },
    op: "sql",
    args: "select count(*) from (select hash(i) as h, repeat(i::varchar, 8) as t from range(20_000_000) t(i) order by h, t offset 1)",
    code: "limit.disk",
    says: /more than 60 MiB of temporary files/,
    dies: false,
  },
  {
    name: "code that writes more than the engine may spill",
    options: { spillLimitBytes: 20 * MiB, cancelGraceMs: 100 },
    op: "write",
    args: 1_000,
    code: "limit.disk",
    says: /more than 20 MiB of temporary files/,
    dies: true,
  },
  {
    name: "code that takes longer than anybody may",
    options: { limits: { timeMs: 200 }, cancelGraceMs: 100 },
    op: "hang",
    args: null,
    code: "limit.time",
    says: /after 0\.2 s, its time limit/,
    dies: true,
  },
]

// Limits are read from /proc.
describe.skipIf(process.platform !== "linux")("A limit", () => {
  for (const offence of offences)
    it.live(`ends ${offence.name}, says so, and costs no other holder anything`, () =>
      withPool({ size: 2, ...offence.options }, (pool) =>
        Effect.gen(function* () {
          const isEngine = offence.options.entry === engine
          const fine = (slot: Slot) => (isEngine ? slot.call("sql", "select 1") : slot.call("echo", 1))
          // A limit of time holds for neighbours as well.
          const neighbour = offence.options.limits?.timeMs === undefined ? yield* pool.acquire : null
          let pid = 0
          const failures = yield* held(pool, (slot) =>
            Effect.gen(function* () {
              const first = yield* Effect.flip(slot.call(offence.op, offence.args))
              pid = slot.pid ?? 0
              // Whatever it does next fails of the same, so nobody takes it for something else.
              return [first, yield* Effect.flip(fine(slot))]
            }),
          )
          for (const failure of failures) {
            assert.deepInclude(failure, { _tag: "SlotOpFailed", code: offence.code })
            assert.match(failure.message, offence.says)
          }
          yield* until(() => !isAlive(pid)) // also one that stopped when it was asked to serves nobody else
          if (neighbour !== null) yield* fine(neighbour)
          yield* held(pool, fine)
          assert.deepInclude(yield* pool.stats, { replaced: 1, problem: null })
        }),
      ),
    )

  it.live("counts from the holder's start, not from the process's", () =>
    withPool({ limits: { cpuMs: 400 } }, (pool) =>
      Effect.gen(function* () {
        const pids = new Set<number>()
        for (let round = 0; round < 4; round++) {
          yield* held(pool, (slot) =>
            Effect.gen(function* () {
              pids.add(yield* pidOf(slot))
              yield* slot.call("spin", null).pipe(Effect.timeoutOption(250))
            }),
          )
        }
        assert.strictEqual(pids.size, 1)
      }),
    ),
  )

  it.live.each<readonly [signal: NodeJS.Signals, text: RegExp]>([
    ["SIGSEGV", /SIGSEGV, it crashed/],
    ["SIGBUS", /SIGBUS, it crashed/],
    ["SIGKILL", /SIGKILL, it was killed from outside/],
  ])("is not what a process died of that got %s, and its holder hears so", ([signal, text]) =>
    withPool({ size: 2, limits: { memoryBytes: 1_000 * MiB } }, (pool) =>
      Effect.gen(function* () {
        const neighbour = yield* pool.acquire
        const slot = yield* pool.acquire
        const pid = yield* pidOf(slot)
        const call = yield* Effect.forkChild(Effect.flip(slot.call("sleep", 60_000)), { startImmediately: true })
        process.kill(pid, signal)
        const death = yield* Fiber.join(call)
        assert.strictEqual(death._tag, "SlotDied")
        assert.match(death.message, text)
        assert.strictEqual(yield* neighbour.call("echo", "well"), "well")
        yield* until(() => !existsSync(`/proc/${pid}`))
      }),
    ),
  )
})
