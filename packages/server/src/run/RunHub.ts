import type { LogEntry, RunId, RunnerSignal, RunStatus } from "@rat/domain"
import { Context, Effect, Layer, Queue, type Scope, Stream } from "effect"

/** What happened to a run. `Reread`: something did, the rows say what. */
export type RunNews =
  | { readonly _tag: "Log"; readonly entries: ReadonlyArray<LogEntry> }
  | { readonly _tag: "Status"; readonly status: RunStatus }
  | { readonly _tag: "Reread" }

/** Tells other nodes; `RunNotices` is it for clusters. */
export interface Elsewhere {
  readonly wake: Effect.Effect<void>
  readonly cancel: (node: string, runId: RunId) => Effect.Effect<void>
  readonly news: (runId: RunId) => Effect.Effect<void>
}

/** News that one slow follower may have waiting. The oldest is dropped, which it sees by a gap in the line numbers. */
const maxWaiting = 256

/**
 * The live side of runs on one node: who waits for work and who follows which run. Holds nothing that is not in a row:
 * a lost message costs a delay, never a fact. `RunRepository` speaks here after each commit.
 */
export class RunHub extends Context.Service<
  RunHub,
  {
    /** There may be a run to claim. Wakes that nobody has taken yet are one. */
    readonly wake: Effect.Effect<void>
    /** The runner node must stop the run now. */
    readonly cancel: (node: string, runId: RunId) => Effect.Effect<void>
    readonly tell: (runId: RunId, news: RunNews) => Effect.Effect<void>
    /** Signals for a runner node; starts with `Wake`. */
    readonly signals: (node: string) => Stream.Stream<RunnerSignal>
    /** News of one run from now on, until the scope closes. */
    readonly follow: (runId: RunId) => Effect.Effect<Queue.Dequeue<RunNews>, never, Scope.Scope>
    /** Hears of what other nodes did, without telling them again. */
    readonly heard: {
      readonly wake: () => void
      readonly cancel: (node: string, runId: RunId) => void
      readonly news: (runId: RunId) => void
      /** Messages may have been missed: everybody looks at the rows. */
      readonly everything: () => void
    }
    /** From now on other nodes are told too. */
    readonly attach: (elsewhere: Elsewhere) => Effect.Effect<void, never, Scope.Scope>
  }
>()("rat/server/run/RunHub") {
  static readonly layer = Layer.sync(RunHub, () => {
    interface Runner {
      readonly node: string
      readonly queue: Queue.Queue<RunnerSignal>
      hasWake: boolean
    }
    const runners = new Set<Runner>()
    const followers = new Map<RunId, Set<Queue.Queue<RunNews>>>()
    let elsewhere: Elsewhere | undefined

    const offerWake = (runner: Runner) => {
      if (runner.hasWake) return
      runner.hasWake = true
      Queue.offerUnsafe(runner.queue, { _tag: "Wake" })
    }
    const wakeHere = () => {
      for (const runner of runners) offerWake(runner)
    }
    const cancelHere = (node: string, runId: RunId) => {
      for (const runner of runners) {
        if (runner.node === node) Queue.offerUnsafe(runner.queue, { _tag: "Cancel", runId })
      }
    }
    const tellHere = (runId: RunId, news: RunNews) => {
      for (const queue of followers.get(runId) ?? []) {
        Queue.offerUnsafe(queue, news)
      }
    }

    return RunHub.of({
      wake: Effect.suspend(() => {
        wakeHere()
        return elsewhere?.wake ?? Effect.void
      }),
      cancel: (node, runId) =>
        Effect.suspend(() => {
          cancelHere(node, runId)
          return elsewhere?.cancel(node, runId) ?? Effect.void
        }),
      tell: (runId, news) =>
        Effect.suspend(() => {
          tellHere(runId, news)
          return elsewhere?.news(runId) ?? Effect.void
        }),
      signals: (node) =>
        Stream.unwrap(
          Effect.gen(function* () {
            const queue = yield* Queue.unbounded<RunnerSignal>()
            const runner: Runner = { node, queue, hasWake: false }
            yield* Effect.acquireRelease(
              Effect.sync(() => runners.add(runner)),
              () => Effect.sync(() => runners.delete(runner)),
            )
            offerWake(runner)
            return Stream.fromEffectRepeat(
              Effect.map(Queue.take(queue), (signal) => {
                if (signal._tag === "Wake") runner.hasWake = false
                return signal
              }),
            )
          }),
        ),
      follow: (runId) =>
        Effect.acquireRelease(
          Effect.map(Queue.sliding<RunNews>(maxWaiting), (queue) => {
            const queues = followers.get(runId)
            if (queues === undefined) followers.set(runId, new Set([queue]))
            else queues.add(queue)
            return queue
          }),
          (queue) =>
            Effect.sync(() => {
              const queues = followers.get(runId)
              queues?.delete(queue)
              if (queues?.size === 0) followers.delete(runId)
            }),
        ),
      heard: {
        wake: wakeHere,
        cancel: cancelHere,
        news: (runId) => tellHere(runId, { _tag: "Reread" }),
        everything: () => {
          wakeHere()
          for (const runId of followers.keys()) tellHere(runId, { _tag: "Reread" })
        },
      },
      attach: (other) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            elsewhere = other
          }),
          () =>
            Effect.sync(() => {
              elsewhere = undefined
            }),
        ),
    })
  })
}
