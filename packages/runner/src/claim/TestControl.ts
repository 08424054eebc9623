import { createHash, randomBytes } from "node:crypto"
import {
  blobKey,
  ClaimedRun,
  CodeFile,
  ContentHash,
  FencingToken,
  Lease,
  LeaseLost,
  type LogEntry,
  Layer as MedallionLayer,
  NamespaceName,
  PipelineId,
  PipelineName,
  PublishConflict,
  RefName,
  RunControlRpc,
  type RunFailure,
  RunId,
  type RunKind,
  type RunnerSignal,
  type RunOutcome,
  RunTarget,
  ZoneListing,
} from "@rat/domain"
import { Catalog, ObjectStore } from "@rat/lakehouse"
import { Context, DateTime, Deferred, Duration, Effect, Layer, Queue, type Schema, Stream } from "effect"
import { RpcTest } from "effect/rpc"
import { RunControl } from "./RunControl.ts"

/** How a run ended, as control heard of it. */
export type TestEnd =
  | { readonly _tag: "Succeeded"; readonly outcome: RunOutcome }
  | { readonly _tag: "Failed"; readonly failure: RunFailure }
  | { readonly _tag: "Stopped" }

interface Entry {
  readonly claimed: Omit<ConstructorParameters<typeof ClaimedRun>[0], "lease">
  readonly runId: RunId
  readonly end: Deferred.Deferred<TestEnd>
  readonly logs: Array<LogEntry>
  readonly phases: Array<string>
  attempt: number
  /** Of the newest attempt; those that were given back are not numbered, but they had one too. */
  token: bigint
  /** Whether an attempt holds it now. */
  isHeld: boolean
  checkpoint: Schema.Json | null
}

export interface TestPipeline {
  readonly layer?: string
  readonly name: string
  /** By path inside the pipeline's folder. */
  readonly files: Readonly<Record<string, string>>
}

interface SubmitOptions {
  readonly kind?: RunKind
  /** Of the run that this one goes on with or repeats. */
  readonly checkpoint?: Schema.Json | null
}

const uuid7 = (): string => {
  const bytes = randomBytes(16)
  bytes.writeUIntBE(Date.now(), 0, 6)
  bytes[6] = (bytes[6]! & 0x0f) | 0x70
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")
}

/**
 * The control role for tests of the runner: one queue in memory, leases and fencing as the real one, publishing through
 * the real catalog. Everything it was told can be asked for.
 */
export class TestControl extends Context.Service<
  TestControl,
  {
    readonly submit: (pipeline: TestPipeline, options?: SubmitOptions) => Effect.Effect<RunId>
    readonly upload: (zone: string, name: string, content: string) => Effect.Effect<void>
    readonly end: (runId: RunId) => Effect.Effect<TestEnd>
    readonly run: (pipeline: TestPipeline) => Effect.Effect<TestEnd & { readonly runId: RunId }>
    readonly cancel: (runId: RunId) => Effect.Effect<void>
    /** The lease runs out: another attempt may take the run. */
    readonly expire: (runId: RunId) => Effect.Effect<void>
    /** Another node has the run from now on, unknown to its holder; answers with that one's token. `expire` gives it back to the queue. */
    readonly steal: (runId: RunId) => Effect.Effect<bigint>
    /** Whether every call to control fails from now on, as when its database is away. */
    readonly away: (isAway: boolean) => void
    readonly logs: (runId: RunId) => ReadonlyArray<LogEntry>
    readonly attempts: (runId: RunId) => number
    /** Runs before a run of this id is published, to bring conflicts about. */
    readonly beforePublish: (runId: RunId, effect: Effect.Effect<void>) => void
    /** Runs between the publish of a run and control's answer. */
    readonly afterPublish: (runId: RunId, effect: Effect.Effect<void>) => void
    /** What the newest report or hand-over left to go on from. */
    readonly checkpoint: (runId: RunId) => Schema.Json | null
    /** Calls by name, in order. */
    readonly calls: Array<string>
  }
>()("rat/runner/claim/TestControl") {}

const namespace = NamespaceName.make("default")

const make = (leaseTime: Duration.Duration) =>
  Effect.gen(function* () {
    const store = yield* ObjectStore
    const catalog = yield* Catalog
    const entries = new Map<string, Entry>()
    const waiting: Array<Entry> = []
    const zones = new Map<string, Array<ZoneListing["files"][number]>>()
    const signals = new Set<Queue.Queue<RunnerSignal>>()
    const hooks = new Map<string, Effect.Effect<void>>()
    const afterwards = new Map<string, Effect.Effect<void>>()
    let isAway = false
    const ended = new Map<string, bigint>()
    const calls: Array<string> = []

    const tell = (signal: RunnerSignal) => {
      for (const queue of signals) Queue.offerUnsafe(queue, signal)
    }
    const enqueue = (entry: Entry) => {
      entry.isHeld = false
      waiting.push(entry)
      tell({ _tag: "Wake" })
    }
    const held = (lease: Lease) => {
      const entry = entries.get(lease.runId)
      return entry?.isHeld && entry.token === lease.fencingToken
        ? Effect.succeed(entry)
        : Effect.fail(new LeaseLost({ runId: lease.runId, attempt: lease.attempt }))
    }
    const finish = (entry: Entry, end: TestEnd) => {
      entry.isHeld = false
      return Deferred.succeed(entry.end, end)
    }

    const handlers = RunControlRpc.toLayer({
      Claim: ({ limit }) =>
        Effect.sync(() => {
          calls.push("Claim")
          return waiting.splice(0, limit).map((entry) => {
            entry.attempt++
            entry.token++
            entry.isHeld = true
            return new ClaimedRun({
              ...entry.claimed,
              checkpoint: entry.checkpoint,
              lease: new Lease({
                runId: entry.runId,
                attempt: entry.attempt,
                fencingToken: FencingToken.make(entry.token),
                expiresAt: DateTime.addDuration(DateTime.nowUnsafe(), leaseTime),
              }),
            })
          })
        }),
      Release: ({ lease, handOver }) =>
        Effect.sync(() => {
          calls.push("Release")
          const entry = entries.get(lease.runId)
          if (!entry?.isHeld || entry.token !== lease.fencingToken) return
          entry.checkpoint = handOver?.checkpoint ?? entry.checkpoint
          entry.logs.push(...(handOver?.logs ?? []))
          if (handOver === undefined) entry.attempt--
          enqueue(entry)
        }),
      Renew: ({ leases }) =>
        Effect.sync(() => {
          calls.push("Renew")
          return {
            lost: leases
              .filter((lease) => {
                const entry = entries.get(lease.runId)
                return !(entry?.isHeld && entry.token === lease.fencingToken)
              })
              .map((lease) => lease.runId),
            expiresAt: DateTime.addDuration(DateTime.nowUnsafe(), leaseTime),
          }
        }),
      Report: ({ lease, phase, logs, checkpoint }) =>
        Effect.map(held(lease), (entry) => {
          calls.push("Report")
          if (checkpoint !== undefined) entry.checkpoint = checkpoint
          if (phase !== null) entry.phases.push(phase)
          entry.logs.push(...logs)
        }),
      ListZone: ({ lease, zone }) =>
        Effect.map(held(lease), () => {
          const files = zones.get(zone)
          return files === undefined ? null : new ZoneListing({ zone, files })
        }),
      Succeed: ({ lease, outcome }) =>
        Effect.gen(function* () {
          calls.push("Succeed")
          const hook = hooks.get(lease.runId) ?? Effect.void
          hooks.delete(lease.runId)
          yield* hook
          // Repeated after a lost answer.
          if (ended.get(lease.runId) === lease.fencingToken) return
          const entry = yield* held(lease)
          if (outcome.branch !== null) {
            yield* catalog
              .merge(RefName.make(outcome.branch), { message: "publish", author: "test", runId: lease.runId })
              .pipe(
                Effect.catchTag("CatalogConflict", ({ tables }) => new PublishConflict({ runId: lease.runId, tables })),
                Effect.catchTag(["RefNotFound", "SqlError"], Effect.die),
              )
          }
          entry.logs.push(...outcome.logs)
          yield* finish(entry, { _tag: "Succeeded", outcome })
          ended.set(lease.runId, lease.fencingToken)
          const after = afterwards.get(lease.runId) ?? Effect.void
          afterwards.delete(lease.runId)
          yield* after
        }),
      Fail: ({ lease, failure }) =>
        Effect.flatMap(held(lease), (entry) => Effect.asVoid(finish(entry, { _tag: "Failed", failure }))),
      Stopped: ({ lease, logs }) =>
        Effect.suspend(() => {
          calls.push("Stopped")
          const entry = entries.get(lease.runId)!
          entry.logs.push(...logs)
          return Effect.asVoid(finish(entry, { _tag: "Stopped" }))
        }),
      Signals: () =>
        Stream.unwrap(
          Effect.gen(function* () {
            const queue = yield* Queue.unbounded<RunnerSignal>()
            yield* Effect.acquireRelease(
              Effect.sync(() => signals.add(queue)),
              () => Effect.sync(() => signals.delete(queue)),
            )
            yield* Queue.offer(queue, { _tag: "Wake" })
            return Stream.fromQueue(queue)
          }),
        ),
    })
    const client = yield* RpcTest.makeClient(RunControlRpc).pipe(Effect.provide(handlers))
    const away = Effect.die(new Error("the database is away"))
    const answering = Object.fromEntries(
      Object.entries(
        client as unknown as Record<string, (...args: ReadonlyArray<unknown>) => Effect.Effect<unknown>>,
      ).map(([name, call]) => [
        name,
        name === "Signals"
          ? call
          : (...args: ReadonlyArray<unknown>) => Effect.suspend(() => (isAway ? away : call(...args))),
      ]),
    ) as unknown as typeof client

    const submit = Effect.fnUntraced(function* (pipeline: TestPipeline, options?: SubmitOptions) {
      const files = yield* Effect.forEach(Object.entries(pipeline.files), ([path, content]) => {
        const hash = ContentHash.make(createHash("sha256").update(content).digest("hex"))
        return Effect.as(store.put(blobKey(hash), new TextEncoder().encode(content)), new CodeFile({ path, hash }))
      })
      const runId = RunId.make(uuid7())
      const kind = options?.kind ?? "pipeline"
      const entry: Entry = {
        runId,
        end: yield* Deferred.make<TestEnd>(),
        logs: [],
        phases: [],
        attempt: 0,
        token: 0n,
        isHeld: false,
        checkpoint: options?.checkpoint ?? null,
        claimed: {
          kind,
          namespace,
          target:
            kind === "noop"
              ? null
              : new RunTarget({
                  pipelineId: PipelineId.make(uuid7()),
                  layer: MedallionLayer.literals.find((layer) => layer === pipeline.layer) ?? "bronze",
                  name: PipelineName.make(pipeline.name),
                  type: "sql",
                  codeVersion: "draft@test",
                  files,
                }),
          trigger: "manual",
          createdAt: DateTime.nowUnsafe(),
          traceparent: null,
        },
      }
      entries.set(runId, entry)
      enqueue(entry)
      return runId
    }, Effect.orDie)

    const end = (runId: RunId) => Deferred.await(entries.get(runId)!.end)

    return {
      control: answering,
      test: TestControl.of({
        submit,
        end,
        run: (pipeline) =>
          Effect.flatMap(submit(pipeline), (runId) => Effect.map(end(runId), (ended) => ({ ...ended, runId }))),
        upload: (zone, name, content) => {
          const key = `${namespace}/landing/${zone}/${name}`
          const listed = zones.get(zone) ?? []
          zones.set(zone, listed)
          if (name === "") return Effect.void
          listed.push({ id: name, filename: name, key, size_bytes: content.length })
          return Effect.orDie(store.put(key, new TextEncoder().encode(content)))
        },
        cancel: (runId) =>
          Effect.sync(() => {
            entries.get(runId)!.isHeld = false
            tell({ _tag: "Cancel", runId })
          }),
        steal: (runId) =>
          Effect.sync(() => {
            const entry = entries.get(runId)!
            entry.isHeld = true
            return ++entry.token
          }),
        away: (now) => {
          isAway = now
          if (!now) tell({ _tag: "Wake" })
        },
        expire: (runId) => Effect.sync(() => enqueue(entries.get(runId)!)),
        logs: (runId) => entries.get(runId)!.logs,
        attempts: (runId) => entries.get(runId)!.attempt,
        beforePublish: (runId, effect) => {
          hooks.set(runId, effect)
        },
        afterPublish: (runId, effect) => {
          afterwards.set(runId, effect)
        },
        checkpoint: (runId) => entries.get(runId)!.checkpoint,
        calls,
      }),
    }
  })

/** Both sides of it: what tests talk to and what runners call. */
export const testControl = (leaseTime: Duration.Duration = Duration.seconds(10)) =>
  Layer.effectContext(
    Effect.map(make(leaseTime), ({ control, test }) =>
      Context.empty().pipe(Context.add(RunControl, control), Context.add(TestControl, test)),
    ),
  )
