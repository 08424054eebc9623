import { assert, layer } from "@effect/vitest"
import { type Lease, NamespaceName, outcomeWithoutTable, PipelineCreate, PipelineName, type RunId } from "@rat/domain"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import fc from "fast-check"
import { LimitRepository } from "../namespace/LimitRepository.ts"
import { NamespaceRepository } from "../namespace/NamespaceRepository.ts"
import { PipelineRepository } from "../pipeline/PipelineRepository.ts"
import { RunRepository } from "../run/RunRepository.ts"
import { testRuns } from "../run/TestRuns.ts"
import { QueueModel } from "./TestQueueModel.ts"

/** Pipelines of each namespace: two that share a key, one with a key for two at a time, one without. */
const code = [
  { name: "a", queueing: { concurrency_key: "warehouse" } },
  { name: "b", queueing: { concurrency_key: "warehouse", priority: 1 } },
  { name: "c", queueing: { concurrency_key: "wide", concurrency_limit: 2 } },
  { name: "d", queueing: { concurrency_key: "wide", concurrency_limit: 2 } },
  { name: "e", queueing: { concurrency_key: "wide", concurrency_limit: 2 } },
  { name: "f", queueing: {} },
] as const

/** Powers of two: sums of shares are exact, so that ties are ties on both sides. */
const weights = [0.25, 0.5, 1, 2, 4]
const namespaces = 3

type Step =
  | {
      readonly do: "submit"
      readonly namespace: number
      readonly pipeline: number | null
      readonly priority: number | null
    }
  | { readonly do: "claim"; readonly slots: number }
  | { readonly do: "end" | "cancel" | "requeue" | "due"; readonly run: number }
  | { readonly do: "limit"; readonly namespace: number; readonly weight: number; readonly maxRunning: number | null }

const anyNamespace = fc.nat(namespaces - 1)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("submit" as const),
      namespace: anyNamespace,
      pipeline: fc.option(fc.nat(code.length - 1), { nil: null }),
      priority: fc.option(fc.integer({ min: -1, max: 2 }), { nil: null }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("claim" as const), slots: fc.integer({ min: 1, max: 5 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom("end", "end", "cancel", "requeue", "due" as const), run: fc.nat(30) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("limit" as const),
      namespace: anyNamespace,
      weight: fc.constantFrom(...weights),
      maxRunning: fc.option(fc.nat(4), { nil: null }),
    }),
  },
) as fc.Arbitrary<Step>

layer(
  RunRepository.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(PipelineRepository.layer, NamespaceRepository.layer, LimitRepository.layer)),
    Layer.provideMerge(testRuns({ maxPendingPerPipeline: 1000 })),
  ),
  { excludeTestServices: true },
)("The queue", (it) => {
  const name = (index: number) => NamespaceName.make(`n${index}`)

  const prepare = Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const pipelines = yield* PipelineRepository
    const ids = new Map<string, string>()
    for (let index = 0; index < namespaces; index++) {
      yield* (yield* NamespaceRepository).ensure(name(index))
      for (const { name: pipeline, queueing } of code) {
        const made = yield* pipelines.create(
          new PipelineCreate({ namespace: name(index), layer: "silver", name: PipelineName.make(pipeline) }),
        )
        ids.set(`${index}.${pipeline}`, made.id)
        yield* sql`
          insert into file (path, namespace, hash, size_bytes, modified, queueing)
          values (
            ${`${name(index)}/pipelines/silver/${pipeline}/config.yaml`}, ${name(index)}, repeat('0', 64), 1, now(),
            ${JSON.stringify(queueing)}::jsonb)`
      }
    }
    return ids
  })

  const forgetAll = Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`delete from run`
    yield* sql`delete from queue_share`
    yield* sql`delete from namespace_limit`
    yield* sql`update queue_clock set at = 0`
  })

  it.effect(
    "hands runs out in the order of its rules, whatever is submitted, ended, limited or put off",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const runs = yield* RunRepository
        const limits = yield* LimitRepository
        const ids = yield* prepare
        const context = yield* Effect.context<never>()

        const play = Effect.fnUntraced(function* (steps: ReadonlyArray<Step>) {
          yield* forgetAll
          const model = new QueueModel()
          const leases = new Map<string, Lease>()
          for (const each of steps) {
            switch (each.do) {
              case "submit": {
                const target = each.pipeline === null ? null : code[each.pipeline]!
                const said: { priority?: number; concurrency_key?: string; concurrency_limit?: number } =
                  target?.queueing ?? {}
                const id = target === null ? null : ids.get(`${each.namespace}.${target.name}`)!
                const run = yield* runs.submit({
                  kind: target === null ? "noop" : "pipeline",
                  namespace: name(each.namespace),
                  pipelineId: id as never,
                  trigger: "manual",
                  idempotencyKey: null,
                  traceparent: null,
                  priority: each.priority,
                })
                model.waiting = [
                  ...model.waiting,
                  {
                    id: run.id,
                    namespace: name(each.namespace),
                    pipeline: id,
                    priority: each.priority ?? said.priority ?? 0,
                    key: said.concurrency_key ?? "",
                    limit: said.concurrency_limit ?? 1,
                    isDue: true,
                  },
                ]
                break
              }
              case "claim": {
                const claimed = yield* runs.claim("node", each.slots)
                for (const { lease } of claimed) leases.set(lease.runId, lease)
                assert.deepStrictEqual(
                  claimed.map(({ lease }) => lease.runId as string),
                  model.claim(each.slots),
                )
                break
              }
              case "end": {
                const run = model.running[each.run % Math.max(1, model.running.length)]
                if (run === undefined) break
                yield* runs.succeed(leases.get(run.id)!, outcomeWithoutTable([]))
                model.running = model.running.filter((other) => other !== run)
                break
              }
              case "cancel": {
                const run = model.waiting[each.run % Math.max(1, model.waiting.length)]
                if (run === undefined) break
                yield* runs.cancel(run.id as RunId)
                model.waiting = model.waiting.filter((other) => other !== run)
                break
              }
              case "requeue": {
                // As after a failed attempt that is repeated in an hour.
                const run = model.running[each.run % Math.max(1, model.running.length)]
                if (run === undefined) break
                yield* sql`
                update run
                set status = 'queued', lease_owner = null, lease_expires_at = null, retry_at = now() + interval '1 hour'
                where id = ${run.id}`
                model.running = model.running.filter((other) => other !== run)
                model.waiting = [...model.waiting, { ...run, isDue: false }]
                break
              }
              case "due": {
                const later = model.waiting.filter((run) => !run.isDue)
                const run = later[each.run % Math.max(1, later.length)]
                if (run === undefined) break
                yield* sql`update run set retry_at = now() - interval '1 second' where id = ${run.id}`
                run.isDue = true
                break
              }
              case "limit": {
                yield* limits.set(name(each.namespace), { weight: each.weight, max_running: each.maxRunning })
                Object.assign(model.of(name(each.namespace)), {
                  weight: each.weight,
                  maxRunning: each.maxRunning ?? 1000,
                })
              }
            }
          }
          const left = yield* sql<{ run_id: string }>`select run_id from run_queue order by run_id`
          assert.deepStrictEqual(
            left.map((row) => row.run_id),
            model.waiting.map((run) => run.id).toSorted(),
          )
        })
        yield* Effect.promise(() =>
          fc.assert(
            fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) =>
              Effect.runPromiseWith(context)(play(steps) as Effect.Effect<void>),
            ),
            { numRuns: 60 },
          ),
        )
      }),
    120_000,
  )
})
