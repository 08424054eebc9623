import { join } from "node:path"
import { cpuTime, diskUse, ownMemory } from "./ProcessUsage.ts"
import { type HolderLimits, type LimitSettings, limitFailure } from "./SlotLimit.ts"
import type { SlotProcess } from "./SlotProcess.ts"

/** How often memory and processor time are looked at. An engine takes some 100 MB in this time at the fastest. */
const tickMs = 50
/** Every so many ticks also the disk, which takes a walk through folders. */
const diskTicks = 5

interface Watched {
  readonly since: number
  /** Processor time at the holder's start; null until it could be read. */
  cpuMs: number | null
  isWalking: boolean
}

/**
 * Looks at the processes that are held, and at nothing while none is. Who goes over its memory is killed at once: in the time
 * of a polite request the machine could be full. Who goes over another limit is asked to stop first.
 */
export class SlotWatch {
  private readonly limits: HolderLimits
  private readonly settings: Partial<LimitSettings>
  private readonly spillLimitBytes: number
  private readonly graceMs: number
  private readonly held = new Map<SlotProcess, Watched>()
  private timer: NodeJS.Timeout | undefined
  private ticks = 0

  constructor(options: {
    readonly limits: HolderLimits
    readonly settings: Partial<LimitSettings>
    readonly graceMs: number
    readonly spillLimitBytes: number
  }) {
    this.limits = options.limits
    this.settings = options.settings
    this.graceMs = options.graceMs
    this.spillLimitBytes = options.spillLimitBytes
  }

  begin(process: SlotProcess): void {
    this.held.set(process, { since: performance.now(), cpuMs: this.cpuOf(process), isWalking: false })
    this.timer ??= setInterval(() => this.tick(), tickMs).unref()
  }

  end(process: SlotProcess): void {
    this.held.delete(process)
    if (this.held.size > 0) return
    clearInterval(this.timer)
    this.timer = undefined
  }

  private cpuOf(process: SlotProcess): number | null {
    return this.limits.cpuMs === undefined || process.pid === undefined ? null : cpuTime(process.pid)
  }

  private tick(): void {
    this.ticks++
    const { memoryBytes, cpuMs, timeMs } = this.limits
    for (const [process, watched] of this.held) {
      const { pid } = process
      if (pid === undefined || process.ended !== undefined) continue
      if (memoryBytes !== undefined && (ownMemory(pid) ?? 0) > memoryBytes)
        process.exceed(limitFailure.memory(memoryBytes, this.settings.memory), 0)
      if (timeMs !== undefined && performance.now() - watched.since > timeMs)
        process.exceed(limitFailure.time(timeMs), this.graceMs)
      if (cpuMs !== undefined) {
        const used = cpuTime(pid)
        watched.cpuMs ??= used
        if (used !== null && used - (watched.cpuMs ?? used) > cpuMs)
          process.exceed(limitFailure.cpu(cpuMs, this.settings.cpu), this.graceMs)
      }
      if (this.ticks % diskTicks === 0 && !watched.isWalking) void this.walk(process, watched)
    }
  }

  /** One walk at a time: a folder may hold more files than fit into the time between two. */
  private async walk(process: SlotProcess, watched: Watched): Promise<void> {
    watched.isWalking = true
    const spilled = await diskUse(join(process.folder, "spill"))
    const { diskBytes } = this.limits
    const written = diskBytes === undefined ? 0 : await diskUse(join(process.folder, "out"))
    watched.isWalking = false
    if (this.held.get(process) !== watched) return // it has another holder meanwhile
    if (diskBytes !== undefined && spilled + written > diskBytes)
      process.exceed(limitFailure.disk(diskBytes, this.settings.disk), this.graceMs)
    // The engine counts what it spills and says itself when it is too much. This is for what it does not count.
    else if (spilled > this.spillLimitBytes * spillTolerance)
      process.exceed(limitFailure.disk(this.spillLimitBytes, this.settings.disk), this.graceMs)
  }
}

/** Blocks that the engine has on disk over what it counts. */
const spillTolerance = 1.1
