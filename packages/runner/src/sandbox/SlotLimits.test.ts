import { assert, layer } from "@effect/vitest"
import { NamespaceName, ProjectFile } from "@rat/domain"
import { Effect, Fiber } from "effect"
import { TestControl, type TestEnd } from "../claim/TestControl.ts"
import { slotProcesses } from "../claim/TestFaults.ts"
import { testCheckSlots, testRunner } from "../claim/TestRunner.ts"
import { validate } from "../template/Project.ts"
import { CheckSlots, RunnerSlots } from "./RunnerSlots.ts"

const MiB = 2 ** 20
const settings = {
  slots: 2,
  threads: 2,
  memoryLimitBytes: 4_000 * MiB,
  limits: { memoryBytes: 700 * MiB, cpuMs: 8_000, diskBytes: 60 * MiB },
  recycling: { recycleAfter: 1_000, recycleAfterMs: 3_600_000, recycleGrowthBytes: 512 * MiB, spares: 0 },
}

const failed = (end: TestEnd) => {
  assert.ok(end._tag === "Failed", JSON.stringify(end))
  return end.failure
}

const endless = "select count(*) as c from range(1000000000) a(i), range(1000000000) b(j) where (i * j) % 7 = 3"

layer(testRunner({ settings }), { excludeTestServices: true })("A run over a limit of its process", (it) => {
  const offenders: ReadonlyArray<readonly [name: string, sql: string, code: string, text: RegExp]> = [
    [
      "memory",
      "select len(list(repeat(i::varchar, 20))) as n from range(50000000) t(i)",
      "limit.memory",
      /more than 700 MiB of memory, its limit.*RAT_RUNNER_PROCESS_MEMORY_LIMIT/,
    ],
    ["cpu", endless, "limit.cpu", /after 8 s of processor time, its limit.*RAT_RUNNER_CPU_LIMIT_SECONDS/],
    [
      "disk",
      "select uuid() as a, uuid() as b, uuid() as c from range(100000000) t(i)",
      "limit.disk",
      /more than 60 MiB of temporary files, its limit.*RAT_RUNNER_DISK_LIMIT/,
    ],
  ]
  for (const [name, sql, code, text] of offenders) {
    it.effect(`(${name}) fails in the phase that it is in, says which one and what to do, and others go on`, () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const slots = yield* RunnerSlots
        const { replaced } = yield* slots.stats
        const failure = failed(yield* control.run({ name, files: { "pipeline.sql": sql } }))
        assert.strictEqual(failure.code, code)
        assert.strictEqual(failure.phase, "execute")
        assert.match(failure.error, text)
        assert.strictEqual((yield* slots.stats).replaced, replaced + 1)
        const next = yield* control.run({ name, files: { "pipeline.sql": "select 1 as a" } })
        assert.strictEqual(next._tag, "Succeeded")
      }),
    )
  }
})

const check = (source: string) =>
  validate({
    namespace: NamespaceName.make("default"),
    files: [new ProjectFile({ path: "pipelines/bronze/one/pipeline.sql", content: source })],
    known: [],
  })

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
      const killing = yield* Effect.forkChild(
        Effect.gen(function* () {
          const slots = yield* CheckSlots
          for (;;) {
            if ((yield* slots.stats).free === 0) for (const pid of slotProcesses()) process.kill(pid, "SIGKILL")
            yield* Effect.sleep(1)
          }
        }),
      )
      // Long enough to be killed in its middle.
      const slow = `${"{% for i in range(3000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}".repeat(3)} select 1 as a`
      const error = yield* Effect.flip(check(slow))
      yield* Fiber.interrupt(killing)
      assert.deepInclude(error, { _tag: "RoleUnavailable", role: "runner" })
      assert.match(error.message, /could not be checked.*Try again/)
    }),
  )

  it.effect("that takes too much is an issue of the files, and the next check is well", () =>
    Effect.gen(function* () {
      const doubling =
        "{% set ns = namespace(s='0123456789') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}"
      const [issue] = yield* check(`${doubling} select 1 as a`)
      assert.deepInclude(issue, { path: "pipelines/bronze/one/pipeline.sql", code: "limit.memory" })
      assert.match(issue!.message, /more than 1024 MiB of memory.*loops over large ranges/)
      assert.deepStrictEqual(yield* check("select 1 as a"), [])
    }),
  )
})
