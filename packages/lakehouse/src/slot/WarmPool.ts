import { mkdirSync, readdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { heldSlot } from "./HeldSlot.ts"
import { type SlotPool, type SlotPoolOptions, SlotsBusy } from "./SlotPool.ts"
import { SlotProcess } from "./SlotProcess.ts"
import { resetOp } from "./SlotProtocol.ts"

/** A slot that has not forgotten its holder after so long is replaced. */
const resetLimitMs = 5_000

/** Wait before the next try while processes die at their start; doubles from the first to the longest. */
const firstBackoffMs = 100
const longestBackoffMs = 10_000

type Waiter = (process: SlotProcess) => void

/**
 * A pool of pre-forked slot processes. Invariants: `size` processes are alive or being started; a process serves one
 * holder at a time; a holder gets a slot that has forgotten the one before; a process that died, did not forget or
 * served `recycleAfter` holders is replaced, the last kind by a successor that is ready before it goes.
 */
export const makeWarmPool = (options: SlotPoolOptions): Effect.Effect<SlotPool, never, Scope.Scope> =>
  Effect.gen(function* () {
    const run = Effect.runForkWith(yield* Effect.context<never>())
    const log = (level: "Warn" | "Debug", message: string, fields: Record<string, unknown>) =>
      run(
        (level === "Warn" ? Effect.logWarning(message) : Effect.logDebug(message)).pipe(
          Effect.annotateLogs({ pool: options.name, ...fields }),
        ),
      )

    const alive = new Set<SlotProcess>()
    const free: Array<SlotProcess> = []
    const waiting: Array<Waiter> = []
    /** Processes whose successor is being started, oldest first; and those that go as soon as they are free. */
    const retiring: Array<SlotProcess> = []
    const leaving = new Set<SlotProcess>()
    let isClosed = false
    let number = 0
    let replaced = 0
    let failedStarts = 0
    const timers = new Set<NodeJS.Timeout>()

    // Of this pool alone: pools are made at different times, and each empties its folder when it is made.
    const folder = join(options.folder, options.name)
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    // What slots of a node that was killed left behind.
    for (const entry of readdirSync(folder)) rmSync(join(folder, entry), { recursive: true, force: true })

    const start = (): void => {
      if (isClosed) return
      const name = String(++number)
      const id = `${options.name}/${name}`
      const process = new SlotProcess(options, id, join(folder, name), (text) =>
        log("Debug", "slot output", { slot: id, output: text }),
      )
      alive.add(process)
      let isReady = false
      process.ready.then((outcome) => {
        if (!outcome.ok) return
        isReady = true
        failedStarts = 0
        const predecessor = retiring.shift()
        if (predecessor !== undefined) retire(predecessor)
        offer(process)
      })
      process.exited.then(async (how) => {
        void process.dispose()
        if (isClosed || !alive.delete(process)) return
        remove(free, process)
        replaced++
        if (remove(retiring, process) || leaving.delete(process)) return // its successor is there or on the way
        if (isReady) {
          log("Warn", "A slot ended and is replaced.", { slot: id, how })
          start()
          return
        }
        const outcome = await process.ready
        const wait = Math.min(firstBackoffMs * 2 ** failedStarts++, longestBackoffMs)
        log("Warn", "A slot could not start and is tried again.", {
          slot: id,
          how: outcome.ok ? how : outcome.how,
          retry_ms: wait,
        })
        const timer = setTimeout(() => {
          timers.delete(timer)
          start()
        }, wait)
        timers.add(timer)
      })
    }

    const retire = (process: SlotProcess): void => {
      if (!remove(free, process)) {
        leaving.add(process)
        return
      }
      leave(process)
    }

    const leave = (process: SlotProcess): void => {
      leaving.delete(process)
      alive.delete(process)
      replaced++
      void process.dispose()
    }

    const offer = (process: SlotProcess): void => {
      if (process.ended !== undefined) return
      const waiter = waiting.shift()
      if (waiter === undefined) free.push(process)
      else waiter(process)
    }

    const release = (process: SlotProcess): void => {
      if (process.ended !== undefined || isClosed) return
      if (leaving.has(process)) {
        leave(process)
        return
      }
      if (process.busy) {
        process.kill() // a holder that went away without ending its operation
        return
      }
      if (++process.served === options.recycleAfter) {
        retiring.push(process)
        start()
      }
      if (!process.used) {
        offer(process)
        return
      }
      const limit = setTimeout(() => process.kill(), resetLimitMs)
      const settled = () => clearTimeout(limit)
      process.start(resetOp, undefined, {
        event: () => {},
        died: settled,
        failed: (error) => {
          settled()
          log("Warn", "A slot could not be reset and is replaced.", { slot: process.id, reason: error.message })
          process.kill()
        },
        done: () => {
          settled()
          process.used = false
          if (leaving.has(process)) leave(process)
          else offer(process)
        },
      })
    }

    const take = Effect.callback<SlotProcess, SlotsBusy>((resume) => {
      const ready = free.pop()
      if (ready !== undefined) return resume(Effect.succeed(ready))
      if (waiting.length >= options.maxWaiting)
        return resume(Effect.fail(new SlotsBusy({ pool: options.name, waiting: waiting.length })))
      let given: SlotProcess | undefined
      const waiter = (process: SlotProcess) => {
        given = process
        resume(Effect.succeed(process))
      }
      waiting.push(waiter)
      return Effect.sync(() => {
        if (!remove(waiting, waiter) && given !== undefined) offer(given)
      })
    })

    yield* Effect.addFinalizer(() =>
      Effect.promise(async () => {
        isClosed = true
        for (const timer of timers) clearTimeout(timer)
        await Promise.all([...alive].map((process) => process.dispose()))
      }),
    )
    for (let index = 0; index < options.size; index++) start()

    return {
      acquire: Effect.acquireRelease(take, (process) => Effect.sync(() => release(process)), {
        interruptible: true,
      }).pipe(
        Effect.map((process) => heldSlot(process, options.cancelGraceMs)),
        Effect.withSpan("SlotPool.acquire", { attributes: { pool: options.name } }),
      ),
      stats: Effect.sync(() => ({
        size: options.size,
        free: free.length,
        waiting: waiting.length,
        replaced,
      })),
    }
  })

const remove = <A>(list: Array<A>, item: A): boolean => {
  const index = list.indexOf(item)
  if (index >= 0) list.splice(index, 1)
  return index >= 0
}
