import { strict as assert } from "node:assert"
import { isTerminal, RunId } from "@rat/domain"
import { Catalog, IcebergTable, ObjectStore, ScanPlanner } from "@rat/lakehouse"
import { Clock, Context, Effect, Exit, Layer, Logger, Queue, Random, Scope } from "effect"
import { TestClock } from "effect/testing"
import { claimRuns } from "../claim/Claimer.ts"
import { RunControl } from "../claim/RunControl.ts"
import { Codes } from "../phase/Code.ts"
import { RunnerConfig, type RunnerSettings } from "../RunnerConfig.ts"
import { RunnerSlots } from "../sandbox/RunnerSlots.ts"
import { cancelOn, clear, makeLink, type SimLink, type SimWeather, simControl } from "./SimControl.ts"
import { SimQueue } from "./SimQueue.ts"
import { simSlots } from "./SimSlots.ts"

/** What one schedule went through. */
export interface SimReport {
  readonly seed: string
  readonly steps: number
  readonly runs: number
  readonly kills: number
  readonly pauses: number
  readonly claims: number
  /** Runs taken back from attempts that were lost. */
  readonly takenBack: number
  /** Late words of attempts whose lease was gone. */
  readonly refused: number
  /** Virtual time, in ms. */
  readonly tookMs: number
}

const limits = { leaseMs: 5_000, maxLost: 1_000, maxOutageRetries: 1_000 }
const slots = 2
const steps = 60
/** A node is known to be gone this long after its end. */
const noticedMs = 1_500
/** Everything is well: within this every run has ended. A minute for statements, the rest for back-offs. */
const settleMs = 10 * 60_000

const settings: RunnerSettings = {
  node: "",
  slotFolder: "/nowhere",
  slots,
  memoryLimitBytes: 1,
  spillLimitBytes: 1,
  threads: 1,
  runTimeoutSeconds: 3600,
  qualityTimeoutSeconds: 60,
  drainSeconds: 2,
  logMaxLines: 100,
  logMaxMessage: 100,
  progressMs: 2_000,
} as unknown as RunnerSettings

/** Runs without a table ask nothing of the lakehouse. */
const nothing = Layer.effectContext(
  Effect.sync(() =>
    Context.empty().pipe(
      Context.add(Catalog, {} as never),
      Context.add(IcebergTable, {} as never),
      Context.add(ObjectStore, {} as never),
      Context.add(ScanPlanner, {} as never),
      Context.add(Codes, {} as never),
    ),
  ),
)

interface SimNode {
  readonly link: SimLink
  readonly scope: Scope.Closeable
}

const world = (seed: string) =>
  Effect.gen(function* () {
    const queue = new SimQueue(limits)
    const nodes = new Map<string, SimNode>()
    const everybody = yield* Effect.scope
    let weather: SimWeather = clear
    let started = 0
    const counts = { kills: 0, pauses: 0 }

    const wake = Effect.sync(() => {
      for (const { link } of nodes.values()) Queue.offerUnsafe(link.signals, { _tag: "Wake" })
    })
    const dice = (sides: number) => Effect.map(Random.next, (share) => Math.floor(share * sides))
    const pick = <A>(all: ReadonlyArray<A>) => Effect.map(dice(all.length), (index) => all[index])

    /** The real claimer, leases and run program, on a network and slots of ours. */
    const start = Effect.gen(function* () {
      const name = `n${++started}`
      const link = yield* makeLink(name)
      const scope = yield* Scope.fork(everybody)
      nodes.set(name, { link, scope })
      const control = simControl({ queue, link, weather: () => weather, wake })
      yield* claimRuns.pipe(
        Effect.provideService(RunControl, control),
        Effect.provideService(RunnerConfig, { ...settings, node: name }),
        Effect.provideService(RunnerSlots, yield* simSlots(slots)),
        Effect.provide(nothing),
        Scope.provide(scope),
      )
    })
    const takeBack = (name: string) =>
      Effect.andThen(
        Effect.sync(() => queue.expireOwner(name)),
        wake,
      )
    const kill = ({ link, scope }: SimNode) =>
      Effect.gen(function* () {
        link.isDead = true
        nodes.delete(link.node)
        counts.kills++
        yield* Effect.forkIn(Scope.close(scope, Exit.void), everybody)
        yield* Effect.forkIn(Effect.delay(takeBack(link.node), noticedMs), everybody)
      })
    const drain = ({ link, scope }: SimNode) =>
      Effect.gen(function* () {
        nodes.delete(link.node)
        yield* Effect.forkIn(
          Effect.andThen(
            Scope.close(scope, Exit.void),
            Effect.suspend(() => {
              link.isDead = true
              return takeBack(link.node)
            }),
          ),
          everybody,
        )
      })
    const submit = Effect.gen(function* () {
      const id = RunId.make(`01a20000-0000-7000-8000-${String(queue.runs.size).padStart(12, "0")}`)
      const key = (yield* dice(3)) === 0 ? null : `k${yield* dice(4)}`
      const amount = 1 + (yield* dice(1000))
      queue.submit(id, key, amount)
      // The client lost the answer and asks again.
      if ((yield* dice(4)) === 0) queue.submit(id, key, amount)
      yield* wake
    })

    const check = Effect.sync(() => {
      queue.check()
      if (queue.problem !== null) throw queue.problem
    })

    const act = Effect.gen(function* () {
      const alive = Array.from(nodes.values())
      const node = yield* pick(alive)
      switch (yield* dice(12)) {
        case 0:
          return alive.length < 4 ? yield* start : undefined
        case 1:
          return node === undefined ? undefined : yield* kill(node)
        case 2:
          if (node !== undefined && (yield* dice(3)) === 0) yield* drain(node)
          return
        case 3:
        case 4:
          if (node !== undefined) {
            counts.pauses++
            node.link.awake.closeUnsafe()
          }
          return
        case 5:
          for (const { link } of alive) link.awake.openUnsafe()
          return
        case 6: {
          const chance = (yield* Random.next) * 0.3
          weather = (yield* dice(2)) === 0 ? clear : { lostRequest: chance, lostAnswer: chance, delay: chance }
          return
        }
        case 7: {
          const run = yield* pick(Array.from(queue.runs.values()))
          const owner = run === undefined ? null : queue.cancel(run.id)
          if (run !== undefined && owner !== null)
            cancelOn(
              Array.from(nodes.values(), ({ link }) => link),
              owner,
              run.id,
            )
          return
        }
        default:
          for (let more = yield* dice(4); more >= 0; more--) yield* submit
      }
    })

    /** What control nodes do, on one of them at least. */
    yield* Effect.gen(function* () {
      if (queue.expire(yield* Clock.currentTimeMillis) > 0) yield* wake
      const now = yield* Clock.currentTimeMillis
      // Somebody wakes the runners when a retry is due.
      if (Array.from(queue.runs.values()).some((run) => run.status === "queued" && run.eligibleAtMs <= now)) yield* wake
    }).pipe(Effect.delay("500 millis"), Effect.forever, Effect.forkScoped)

    yield* start
    yield* start
    for (let step = 0; step < steps; step++) {
      yield* act
      yield* check
      yield* TestClock.adjust((yield* Random.next) < 0.8 ? yield* dice(200) : yield* dice(8_000))
      yield* check
    }

    // All is well again. What is left has to end.
    weather = clear
    for (const { link } of nodes.values()) link.awake.openUnsafe()
    if (nodes.size === 0) yield* start
    const open = () => Array.from(queue.runs.values()).filter((run) => !isTerminal(run.status))
    for (let waited = 0; open().length > 0 && waited < settleMs; waited += 5_000) yield* TestClock.adjust(5_000)
    assert.deepEqual(
      open().map(({ id, status, owner, attempt }) => ({ id, status, owner, attempt })),
      [],
      "runs that did not end although everything was well for ten minutes",
    )
    yield* check
    return {
      seed,
      steps,
      runs: queue.runs.size,
      ...counts,
      claims: queue.claims,
      takenBack: queue.takenBack,
      refused: queue.refused,
      tookMs: yield* Clock.currentTimeMillis,
    } satisfies SimReport
  })

/**
 * One schedule: nodes that start, stop, are killed, stopped and cut off; a network that loses and delays; runs that are submitted
 * and cancelled meanwhile. Everything is drawn from the seed and happens in virtual time, so a seed that fails fails again.
 */
export const simulate = (seed: string): Effect.Effect<SimReport> =>
  // What was killed waits for answers that never come, so nobody waits for it: it is forgotten with its clock.
  Effect.flatMap(Scope.make(), (scope) => Scope.provide(world(seed), scope)).pipe(
    Random.withSeed(seed),
    Effect.provide(Layer.merge(TestClock.layer(), Logger.layer([]))),
  ) as Effect.Effect<SimReport>
