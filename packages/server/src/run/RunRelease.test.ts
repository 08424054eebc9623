import { assert, layer } from "@effect/vitest"
import { HandOver, LogEntry, NamespaceName, outcomeWithoutTable } from "@rat/domain"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { RunRepository } from "./RunRepository.ts"
import { testRuns } from "./TestRuns.ts"

const line = (seq: number, message: string) =>
  new LogEntry({ seq, timestamp: "2026-01-02T03:04:05.678Z", level: "info", message })

const handOver = new HandOver({
  phase: "commit",
  phases: [{ name: "branch", duration_ms: 1.5 }],
  logs: [line(2, "on its way")],
  checkpoint: { version: 1, what: "newest" },
})

layer(RunRepository.layer.pipe(Layer.provideMerge(testRuns({ leaseSeconds: 5, maxAttempts: 2 }))), {
  excludeTestServices: true,
})("A run that a node hands over", (it) => {
  const begun = Effect.gen(function* () {
    const runs = yield* RunRepository
    const { id } = yield* runs.submit({
      kind: "noop",
      namespace: NamespaceName.make("default"),
      pipelineId: null,
      trigger: "manual",
      idempotencyKey: null,
      traceparent: null,
    })
    const [claimed] = yield* runs.claim("node-a", 1)
    assert.strictEqual(claimed?.lease.runId, id)
    yield* runs.report({ lease: claimed!.lease, phase: "write", logs: [line(1, "begun")], checkpoint: { version: 1 } })
    return { id, lease: claimed!.lease }
  })

  it.effect(
    "goes to the next one at once, with its checkpoint and lines, and counts neither as lost nor as failed",
    () =>
      Effect.gen(function* () {
        const runs = yield* RunRepository
        const { id, lease } = yield* begun
        // More often than attempts may be lost.
        let held = lease
        for (const node of ["node-b", "node-c", "node-d"]) {
          yield* runs.release(held, handOver)
          assert.strictEqual((yield* runs.find(id)).status, "pending")
          const [next] = yield* runs.claim(node, 1)
          assert.deepStrictEqual(next?.checkpoint, { version: 1, what: "newest" })
          assert.deepStrictEqual([next?.lease.attempt, next?.lostAttempts], [held.attempt + 1, 0])
          // Whatever the one that gave it back still has to say.
          yield* runs.release(held, handOver)
          assert.strictEqual((yield* Effect.flip(runs.succeed(held, outcomeWithoutTable([]))))._tag, "LeaseLost")
          held = next!.lease
        }
        yield* runs.succeed(held, outcomeWithoutTable([]))
        yield* runs.release(held, handOver)
        assert.strictEqual((yield* runs.find(id)).status, "success")
        const attempts = yield* runs.attempts(id)
        assert.deepStrictEqual(
          attempts.map(({ attempt, node, outcome, phase }) => [attempt, node, outcome, phase]),
          [
            [1, "node-a", "handed_over", "commit"],
            [2, "node-b", "handed_over", "commit"],
            [3, "node-c", "handed_over", "commit"],
            [4, "node-d", "success", null],
          ],
        )
        assert.deepStrictEqual(
          attempts[0]!.phases.map(({ duration_ms }) => duration_ms),
          [1.5],
        )
        const sql = yield* SqlClient.SqlClient
        const lines = yield* sql<{ readonly message: string; readonly attempt: number }>`
        select message, attempt from run_log where run_id = ${id} order by seq`
        assert.deepStrictEqual(
          lines.slice(0, 2).map(({ attempt, message }) => [attempt, message]),
          [
            [1, "begun"],
            [1, "on its way"],
          ],
        )
      }),
  )

  it.effect("keeps the checkpoint that was reported when the hand-over brings none", () =>
    Effect.gen(function* () {
      const runs = yield* RunRepository
      const { lease } = yield* begun
      yield* runs.release(lease, new HandOver({ ...handOver, checkpoint: null }))
      const [next] = yield* runs.claim("node-b", 1)
      assert.deepStrictEqual(next?.checkpoint, { version: 1 })
    }),
  )
})
