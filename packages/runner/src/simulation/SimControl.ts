import {
  ClaimedRun,
  FencingToken,
  Lease,
  LeaseLost,
  NamespaceName,
  type RunFailure,
  type RunId,
  type RunnerSignal,
} from "@rat/domain"
import { Clock, DateTime, Effect, Latch, Queue, Random, Stream } from "effect"
import { RpcClientError } from "effect/rpc"
import type { RunControl } from "../claim/RunControl.ts"
import type { SimQueue, SimRun } from "./SimQueue.ts"

/** How bad the network is: chances of each call, 0 to 1. */
export interface SimWeather {
  readonly lostRequest: number
  readonly lostAnswer: number
  /** Of a pause of up to four seconds, on the way there or back. */
  readonly delay: number
}

export const clear: SimWeather = { lostRequest: 0, lostAnswer: 0, delay: 0 }

/** A node's way to control. */
export interface SimLink {
  readonly node: string
  /** Closed while the process is stopped: what it had sent goes on later, when nobody expects it any more. */
  readonly awake: Latch.Latch
  /** A killed process neither sends nor hears anything. */
  isDead: boolean
  readonly signals: Queue.Queue<RunnerSignal>
}

export const makeLink = (node: string): Effect.Effect<SimLink> =>
  Effect.gen(function* () {
    return { node, awake: yield* Latch.make(true), isDead: false, signals: yield* Queue.unbounded<RunnerSignal>() }
  })

const lost = () =>
  Effect.fail(
    new RpcClientError.RpcClientError({
      reason: new RpcClientError.RpcClientDefect({ message: "lost", cause: new Error("lost") }),
    }),
  )

const toClaimed = (run: SimRun): ClaimedRun =>
  new ClaimedRun({
    lease: new Lease({
      runId: run.id,
      attempt: run.attempt,
      fencingToken: FencingToken.make(run.token),
      expiresAt: DateTime.makeUnsafe(run.expiresAtMs),
    }),
    kind: "noop",
    namespace: NamespaceName.make("default"),
    target: null,
    trigger: "simulation",
    createdAt: DateTime.makeUnsafe(0),
    traceparent: null,
  })

/**
 * Control as one node reaches it, over a network that loses requests and answers, delays them, and is cut while the process is
 * stopped. What happens at the other end happens in one step, as a statement does.
 */
export const simControl = (options: {
  readonly queue: SimQueue
  readonly link: SimLink
  readonly weather: () => SimWeather
  /** There may be work for anybody. */
  readonly wake: Effect.Effect<void>
}): RunControl["Service"] => {
  const { queue, link, wake } = options
  const pass = Effect.suspend(() => (link.isDead ? Effect.never : link.awake.await))
  const way = Effect.gen(function* () {
    yield* pass
    if ((yield* Random.next) < options.weather().delay) yield* Effect.sleep((yield* Random.next) * 4000)
    else yield* Effect.sleep(Math.ceil((yield* Random.next) * 3))
    yield* pass
  })
  const call = <A, E>(act: (nowMs: number) => Effect.Effect<A, E>) =>
    Effect.gen(function* () {
      const { lostRequest, lostAnswer } = options.weather()
      yield* way
      if ((yield* Random.next) < lostRequest) return yield* lost()
      const answer = yield* Effect.exit(Effect.flatMap(Clock.currentTimeMillis, act))
      queue.check()
      yield* way
      if ((yield* Random.next) < lostAnswer) return yield* lost()
      return yield* answer
    })
  const guarded = (lease: Lease, isHeld: (nowMs: number) => boolean) =>
    call((nowMs) =>
      isHeld(nowMs) ? Effect.void : Effect.fail(new LeaseLost({ runId: lease.runId, attempt: lease.attempt })),
    )
  type Held = { readonly lease: Lease }
  const control = {
    Claim: ({ limit }: { readonly limit: number }) =>
      call((nowMs) => Effect.succeed(queue.claim(link.node, limit, nowMs).map(toClaimed))),
    Renew: ({ leases }: { readonly leases: ReadonlyArray<Lease> }) =>
      call((nowMs) =>
        Effect.succeed({
          lost: queue.renew(leases, nowMs),
          expiresAt: DateTime.makeUnsafe(nowMs + queue.limits.leaseMs),
        }),
      ),
    Release: ({ lease }: Held) =>
      call(() =>
        Effect.andThen(
          Effect.sync(() => queue.release(lease)),
          wake,
        ),
      ),
    Report: ({ lease, logs }: Held & { readonly logs: ReadonlyArray<{ readonly seq: number }> }) =>
      guarded(lease, () => {
        const run = queue.held(lease)
        if (run !== undefined) run.lastLine = Math.max(run.lastLine, logs.at(-1)?.seq ?? 0)
        return run !== undefined
      }),
    ListZone: ({ lease }: Held) =>
      call(() =>
        Effect.as(
          Effect.sync(() => queue.held(lease)),
          null,
        ),
      ),
    Succeed: ({ lease }: Held) =>
      Effect.tap(
        guarded(lease, () => queue.succeed(lease)),
        () => wake,
      ),
    Fail: ({ lease, failure }: Held & { readonly failure: RunFailure }) =>
      Effect.gen(function* () {
        const random = yield* Random.next
        yield* guarded(lease, (nowMs) => queue.fail(lease, failure, nowMs, random))
        yield* wake
      }),
    Stopped: () => call(() => Effect.void),
    Signals: () =>
      Stream.concat(
        Stream.succeed<RunnerSignal>({ _tag: "Wake" }),
        Stream.fromEffectRepeat(Effect.andThen(pass, Queue.take(link.signals))),
      ),
  }
  return control as unknown as RunControl["Service"]
}

export const cancelOn = (links: Iterable<SimLink>, node: string, runId: RunId): void => {
  for (const link of links) if (link.node === node) Queue.offerUnsafe(link.signals, { _tag: "Cancel", runId })
}
