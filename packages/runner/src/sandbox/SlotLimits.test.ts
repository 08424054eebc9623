import { assert, layer } from "@effect/vitest"
import { NamespaceName, ProjectFile } from "@rat/domain"
import { Effect, Fiber } from "effect"
import { TestControl, type TestEnd } from "../claim/TestControl.ts"
import { slotProcesses } from "../claim/TestFaults.ts"
import { testCheckSlots, testRunner } from "../claim/TestRunner.ts"
import { validate } from "../template/Project.ts"
import { onDemandSlot } from "./OnDemandSlot.ts"
import { CheckSlots } from "./RunnerSlots.ts"

const MiB = 2 ** 20
const settings = {
  slots: 2,
  threads: 2,
  memoryLimitBytes: 4_000 * MiB,
  limits: { memoryBytes: 500 * MiB, cpuMs: 3_000, diskBytes: 30 * MiB },
  recycling: { recycleAfter: 1_000, recycleAfterMs: 3_600_000, recycleGrowthBytes: 512 * MiB, spares: 0 },
}

const failed = (end: TestEnd) => {
  assert.ok(end._tag === "Failed", JSON.stringify(end))
  return end.failure
}

const endless = "select count(*) as c from range(1000000) a(i), range(1000000) b(j) where (i * j) % 7 = 3"

layer(testRunner({ settings }), { excludeTestServices: true })("A run over a limit of its process", (it) => {
  const offenders: ReadonlyArray<readonly [name: string, sql: string, code: string, text: RegExp]> = [
    [
      "memory",
      "select len(list(repeat(i::varchar, 20))) as n from range(50000000) t(i)",
      "limit.memory",
      /more than 500 MiB of memory, its limit.*RAT_RUNNER_PROCESS_MEMORY_LIMIT/,
    ],
    ["cpu", endless, "limit.cpu", /after 3 s of processor time, its limit.*RAT_RUNNER_CPU_LIMIT_SECONDS/],
    [
      "disk",
      "select uuid() as a, uuid() as b, uuid() as c from range(100000000) t(i)",
      "limit.disk",
      /more than 30 MiB of temporary files, its limit.*RAT_RUNNER_DISK_LIMIT/,
    ],
  ]
  for (const [name, sql, code, text] of offenders) {
    it.effect(
      `(${name}) fails in the phase that it is in, says which one and what to do, and others go on`,
      () =>
        Effect.gen(function* () {
          const control = yield* TestControl
          while (slotProcesses().length < settings.slots) yield* Effect.sleep(5)
          const before = slotProcesses()
          const failure = failed(yield* control.run({ name, files: { "pipeline.sql": sql } }))
          assert.strictEqual(failure.code, code)
          assert.strictEqual(failure.phase, "execute")
          assert.match(failure.error, text)
          while (slotProcesses().filter((pid) => before.includes(pid)).length > 1) yield* Effect.sleep(5)
          // One slot, and no more.
          assert.strictEqual(slotProcesses().filter((pid) => before.includes(pid)).length, 1)
          const next = yield* control.run({ name, files: { "pipeline.sql": "select 1 as a" } })
          assert.strictEqual(next._tag, "Succeeded")
        }),
      60_000, // three seconds of processor time may be many of others
    )
  }
})

const check = (source: string) =>
  validate({
    namespace: NamespaceName.make("default"),
    files: [new ProjectFile({ path: "pipelines/bronze/one/pipeline.sql", content: source })],
    known: [],
  })

const small = { entry: new URL("./RunnerSlot.ts", import.meta.url), memoryLimitBytes: 256 * MiB, threads: 1 }

layer(testCheckSlots, { excludeTestServices: true })("The check of a project", (it) => {
  it.effect("whose process dies is done again in another one", () =>
    Effect.gen(function* () {
      const slots = yield* CheckSlots
      const pid = yield* Effect.scoped(Effect.map(slots.acquire, (slot) => slot.pid!))
      process.kill(pid, "SIGSTOP")
      const checking = yield* Effect.forkChild(check("select 1 as a"), { startImmediately: true })
      yield* Effect.sleep(100)
      process.kill(pid, "SIGKILL")
      assert.deepStrictEqual(yield* Fiber.join(checking), [])
    }),
  )

  it.effect("whose processes die again and again is unavailable, not broken", () =>
    Effect.gen(function* () {
      const dying = yield* onDemandSlot({ ...small, name: "dying", maxWaitMs: 2_000 })
      const killing = yield* Effect.forkChild(
        Effect.gen(function* () {
          for (;;) {
            if ((yield* dying.stats).free === 0) for (const pid of slotProcesses()) process.kill(pid, "SIGKILL")
            yield* Effect.sleep(1)
          }
        }),
      )
      // Long enough to be killed in its middle.
      const slow = `${"{% for i in range(3000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}".repeat(3)} select 1 as a`
      const error = yield* Effect.flip(Effect.provideService(check(slow), CheckSlots, dying))
      yield* Fiber.interrupt(killing)
      assert.deepInclude(error, { _tag: "RoleUnavailable", role: "runner" })
      assert.match(error.message, /could not be checked.*Try again/)
    }),
  )

  it.effect("that takes too long is an issue of the files, and the next check is well", () =>
    Effect.gen(function* () {
      const impatient = yield* onDemandSlot({ ...small, name: "impatient", limits: { timeMs: 2_000 } })
      const pid = yield* Effect.scoped(Effect.map(impatient.acquire, (slot) => slot.pid!))
      process.kill(pid, "SIGSTOP")
      const checked = (source: string) => Effect.provideService(check(source), CheckSlots, impatient)
      const [issue] = yield* checked("select 1 as a")
      assert.deepInclude(issue, { path: "pipelines/bronze/one/pipeline.sql", code: "limit.time" })
      assert.match(issue!.message, /stopped after 2 s, its time limit.*loops over large ranges/)
      assert.deepStrictEqual(yield* checked("select 1 as a"), [])
    }),
  )
})
