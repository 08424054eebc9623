import { mkdirSync } from "node:fs"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { heldSlot } from "./HeldSlot.ts"
import { ownMemory } from "./ProcessUsage.ts"
import { makePoolFolder, sweepMs, sweepPoolFolders } from "./SlotFolders.ts"
import { type SlotPool, type SlotPoolOptions, SlotsBusy } from "./SlotPool.ts"
import { SlotProcess } from "./SlotProcess.ts"
import { resetOp } from "./SlotProtocol.ts"
import { noWall, type Wall, type WallMode, weaker } from "./SlotWall.ts"
import { SlotWatch } from "./SlotWatch.ts"

/** A slot that has not forgotten its holder after so long is replaced. */
const resetLimitMs = 5_000

/** Wait before the next try while processes die at their start; doubles from the first to the longest. */
const firstBackoffMs = 100
const longestBackoffMs = 10_000

/** Starts behind a wall that has never let a slot through, before a weaker one is tried. */
const triesOfWall = 2

/** Spare processes start after those that are needed at once. */
const spareDelayMs = 2_000

/** Age at which a process is replaced when nobody says: long enough to cost nothing, too short for a leak to grow. */
const defaultAgeMs = 6 * 3_600_000

/** Memory over that of its start that a process may keep between holders. */
const defaultGrowthBytes = 512 * 2 ** 20

type Waiter = (process: SlotProcess) => void

/**
 * A pool of pre-forked slot processes. Invariants: at most `size` are held; `size` and its spares are alive or being started;
 * a process serves one holder at a time; a holder gets a slot that has forgotten the one before; a process that died, did
 * not forget, is doubtful, or has grown old or large is replaced, the last kinds by a successor that is ready before it goes.
 */
export const makeWarmPool = (
  options: SlotPoolOptions,
  walls: { readonly mode: WallMode; readonly find: (folder: string) => Promise<Wall> },
): Effect.Effect<SlotPool, never, Scope.Scope> =>
  Effect.gen(function* () {
    const run = Effect.runForkWith(yield* Effect.context<never>())
    const log = (level: "Warn" | "Info" | "Debug", message: string, fields: Record<string, unknown>) => {
      const effect = { Warn: Effect.logWarning, Info: Effect.logInfo, Debug: Effect.logDebug }[level](message)
      run(effect.pipe(Effect.annotateLogs({ pool: options.name, ...fields })))
    }
    const { size, spares = 0, recycleAfterMs = defaultAgeMs, recycleGrowthBytes = defaultGrowthBytes, idleMs } = options
    const watch = new SlotWatch({
      limits: options.limits ?? {},
      settings: options.limitSettings ?? {},
      spillLimitBytes: options.spillLimitBytes,
      graceMs: options.cancelGraceMs,
    })

    const alive = new Set<SlotProcess>()
    const free: Array<SlotProcess> = []
    const held = new Set<SlotProcess>()
    const waiting: Array<Waiter> = []
    /** Processes whose successor is being started, oldest first; and those that go as soon as they are free. */
    const retiring: Array<SlotProcess> = []
    const leaving = new Set<SlotProcess>()
    /** Own memory of each process when it had just started. */
    const firstMemory = new WeakMap<SlotProcess, number>()
    /** Processes that there should be. */
    let wanted = idleMs === undefined ? size : 0
    let isClosed = false
    let number = 0
    let replaced = 0
    let failedStarts = 0
    let problem: string | null = null
    let wall: Wall | undefined
    let hasStarted = false
    const timers = new Set<NodeJS.Timeout>()
    const after = (ms: number, act: () => void): NodeJS.Timeout => {
      const timer = setTimeout(() => {
        timers.delete(timer)
        if (!isClosed) act()
      }, ms)
      timers.add(timer)
      return timer
    }

    mkdirSync(options.folder, { recursive: true, mode: 0o700 })
    const folder = makePoolFolder(options.folder, options.name)
    const root = join(folder, "root")
    mkdirSync(root, { recursive: true, mode: 0o700 })

    const sweep = (): void => {
      sweepPoolFolders(options.folder, folder).then(
        (removed) => {
          if (removed.length > 0) log("Info", "Folders of slots whose node died were removed.", { folders: removed })
        },
        (error) => log("Warn", "Folders of slots could not be looked at.", { reason: String(error) }),
      )
    }

    let isBackingOff = false
    /** Starts what is missing. */
    const supply = (): void => {
      if (isClosed || wall === undefined || isBackingOff) return
      const counted = () => alive.size - retiring.length - leaving.size
      while (counted() < wanted) start(wall)
    }

    const start = (behind: Wall): void => {
      const name = String(++number)
      const id = `${options.name}/${name}`
      const process = new SlotProcess(options, behind, id, { folder: join(folder, name), root }, (text) =>
        log("Debug", "slot output", { slot: id, output: text }),
      )
      alive.add(process)
      let isReady = false
      process.ready.then((outcome) => {
        if (!outcome.ok || !alive.has(process)) return
        isReady = true
        hasStarted = true
        failedStarts = 0
        problem = null
        const memory = process.pid === undefined ? null : ownMemory(process.pid)
        if (memory !== null) firstMemory.set(process, memory)
        const aged = after(recycleAfterMs, () => replace(process)).unref()
        void process.exited.then(() => {
          clearTimeout(aged)
          timers.delete(aged)
        })
        const predecessor = retiring.shift()
        if (predecessor !== undefined) retire(predecessor)
        offer(process)
      })
      process.exited.then(async (how) => {
        void process.dispose()
        if (isClosed || !alive.delete(process)) return
        remove(free, process)
        replaced++
        const isLeaving = remove(retiring, process) || leaving.delete(process)
        if (isReady || isLeaving) {
          if (!isLeaving && !process.isDoubtful) log("Warn", "A slot ended and is replaced.", { slot: id, how })
          supply()
          return
        }
        const outcome = await process.ready
        failedToStart(id, behind, outcome.ok ? how : outcome.how)
      })
    }

    const failedToStart = (slot: string, behind: Wall, how: string): void => {
      const wait = Math.min(firstBackoffMs * 2 ** failedStarts++, longestBackoffMs)
      problem = `Slots of ${options.name} cannot start: ${how}`
      log("Warn", "A slot could not start and is tried again.", { slot, how, retry_ms: wait })
      isBackingOff = true
      after(wait, async () => {
        if (walls.mode === "auto" && !hasStarted && failedStarts >= triesOfWall && wall === behind) await lower(behind)
        isBackingOff = false
        supply()
      })
    }

    /** Takes a weaker wall, if it is the wall's fault: a process without any does start, and then again none behind it. */
    const lower = async (behind: Wall): Promise<void> => {
      const next = weaker(behind)
      if (next === null || !(await starts(noWall)) || (await starts(behind)) || isClosed) return
      wall = next
      log("Warn", "Slots do not start behind their wall; a weaker one is tried.", { problem, wall: next.parts })
    }

    /** Whether a process starts; it serves nobody. */
    const starts = async (behind: Wall): Promise<boolean> => {
      const name = String(++number)
      const place = { folder: join(folder, name), root }
      const process = new SlotProcess(options, behind, `${options.name}/${name}`, place, () => {})
      const { ok } = await process.ready
      await process.dispose()
      return ok
    }

    /** Has a process go when a successor is ready. */
    const replace = (process: SlotProcess): void => {
      if (!alive.has(process) || retiring.includes(process) || leaving.has(process)) return
      retiring.push(process)
      supply()
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
      remove(retiring, process)
      alive.delete(process)
      replaced++
      void process.dispose()
    }

    /** Gives free processes to those who wait, the longest waiting first. */
    const offer = (process: SlotProcess): void => {
      if (process.ended !== undefined) return
      free.push(process)
      serve()
      if (idleMs !== undefined && held.size === 0) rest(idleMs)
    }

    const serve = (): void => {
      while (waiting.length > 0) {
        const process = grab()
        if (process === undefined) return
        waiting.shift()?.(process)
      }
    }

    const grab = (): SlotProcess | undefined => {
      if (held.size >= size) return undefined
      let process = free.pop()
      while (process !== undefined && process.ended !== undefined) process = free.pop()
      if (process !== undefined) {
        held.add(process)
        watch.begin(process)
      }
      return process
    }

    const release = (process: SlotProcess): void => {
      watch.end(process)
      held.delete(process)
      settle(process)
      serve() // a spare may be free while this one forgets
    }

    /** Makes a process that was held free again, or has it replaced. */
    const settle = (process: SlotProcess): void => {
      if (process.ended !== undefined || isClosed) return
      if (leaving.has(process)) {
        leave(process)
        return
      }
      // Doubtful, or its holder went away without ending its operation.
      if (process.isDoubtful || process.busy) {
        discard(process)
        return
      }
      if (++process.served === options.recycleAfter) replace(process)
      if (!process.used) {
        offer(process)
        return
      }
      void forget(process).then((reason) => {
        if (process.ended !== undefined || isClosed) return
        if (reason !== null) {
          log("Warn", "A slot could not be reset and is replaced.", { slot: process.id, reason })
          discard(process)
          return
        }
        process.used = false
        if (leaving.has(process)) {
          leave(process)
          return
        }
        const memory = process.pid === undefined ? null : ownMemory(process.pid)
        if (memory !== null && memory - (firstMemory.get(process) ?? memory) > recycleGrowthBytes) replace(process)
        offer(process)
      })
    }

    /** Ends a process; what takes its place starts before it has ended. */
    const discard = (process: SlotProcess): void => {
      leave(process)
      supply()
    }

    /** Has a process forget its holder; answers with what went wrong. */
    const forget = async (process: SlotProcess): Promise<string | null> => {
      const reset = new Promise<string | null>((resolve) => {
        const limit = setTimeout(() => resolve(`it took longer than ${resetLimitMs} ms`), resetLimitMs)
        const end = (reason: string | null) => {
          clearTimeout(limit)
          resolve(reason)
        }
        process.start(resetOp, undefined, {
          event: () => {},
          died: end,
          failed: (error) => end(error.message),
          done: () => end(null),
        })
      })
      const emptied = process.emptyInputs().then(
        () => null,
        (error) => String(error),
      )
      return (await reset) ?? (await emptied)
    }

    let resting: NodeJS.Timeout | undefined
    /** Ends the process of a pool on demand that nobody has asked for in a while. */
    const rest = (ms: number): void => {
      clearTimeout(resting)
      resting = after(ms, () => {
        if (held.size > 0 || waiting.length > 0) return
        wanted = 0
        for (const process of [...free]) retire(process)
      })
    }

    const take = Effect.callback<SlotProcess, SlotsBusy>((resume) => {
      if (wanted === 0) wanted = size
      supply()
      const ready = grab()
      if (ready !== undefined) return resume(Effect.succeed(ready))
      const busy = () => new SlotsBusy({ pool: options.name, waiting: waiting.length })
      if (waiting.length >= options.maxWaiting) return resume(Effect.fail(busy()))
      let given: SlotProcess | undefined
      let patience: NodeJS.Timeout | undefined
      const waiter = (process: SlotProcess) => {
        clearTimeout(patience)
        given = process
        resume(Effect.succeed(process))
      }
      waiting.push(waiter)
      if (options.maxWaitMs !== undefined)
        patience = after(options.maxWaitMs, () => {
          if (remove(waiting, waiter)) resume(Effect.fail(busy()))
        })
      return Effect.sync(() => {
        clearTimeout(patience)
        if (!remove(waiting, waiter) && given !== undefined) release(given)
      })
    })

    yield* Effect.addFinalizer(() =>
      Effect.promise(async () => {
        isClosed = true
        for (const timer of timers) clearTimeout(timer)
        clearInterval(sweeping)
        await Promise.all([...alive].map((process) => process.dispose()))
        await rm(folder, { recursive: true, force: true, maxRetries: 2 }).catch(() => {}) // a sweep finds it
      }),
    )
    const sweeping = setInterval(sweep, sweepMs).unref()
    sweep()
    void walls.find(options.folder).then((found) => {
      wall = found
      supply()
      if (spares > 0 && idleMs === undefined)
        after(spareDelayMs, () => {
          wanted += spares
          supply()
        })
    })

    return {
      acquire: Effect.acquireRelease(take, (process) => Effect.sync(() => release(process)), {
        interruptible: true,
      }).pipe(
        Effect.map((process) => heldSlot(process, options.cancelGraceMs)),
        Effect.withSpan("SlotPool.acquire", { attributes: { pool: options.name } }),
      ),
      stats: Effect.sync(() => ({
        size,
        free: Math.min(free.filter(({ ended }) => ended === undefined).length, size - held.size),
        waiting: waiting.length,
        replaced,
        wall: wall?.parts ?? [],
        problem,
      })),
    }
  })

const remove = <A>(list: Array<A>, item: A): boolean => {
  const index = list.indexOf(item)
  if (index >= 0) list.splice(index, 1)
  return index >= 0
}
