import { type ChildProcess, spawn } from "node:child_process"
import { rm } from "node:fs/promises"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { emptyFolder } from "./EmptyFolder.ts"
import { childOf, outOfMemoryKills } from "./ProcessUsage.ts"
import { ownSlotFolder, slotFolders } from "./SlotFolders.ts"
import { longAfterMs, longNiceness, setNiceness, slotNiceness } from "./SlotNiceness.ts"
import type { SlotPoolOptions } from "./SlotPool.ts"
import { type FromSlot, resetOp, type SlotFailure, type SlotLimits, slotCodes, type ToSlot } from "./SlotProtocol.ts"
import { endBehind, hasLauncher, launchCommand, slotEnvironment, userOf, type Wall } from "./SlotWall.ts"

/** What becomes of one request. Exactly one of `done`, `failed` and `died` is called, once. */
export interface SlotRequest {
  readonly event: (event: unknown) => void
  readonly done: (value: unknown) => void
  readonly failed: (error: SlotFailure) => void
  readonly died: (how: string) => void
}

/** Room for the process's own JavaScript; what the engine uses is outside of it and has its own limit. */
const heapMegabytes = 256

/** Last lines of what a process wrote to its output, kept to explain its death. */
const tailLength = 2000

/** How long the output of a process that has ended is waited for. */
const tailWaitMs = 200

const crashes: ReadonlySet<string> = new Set(["SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE", "SIGTRAP"])

/** Failures after which the process is not trusted with another holder. */
const doubtful: ReadonlySet<string> = new Set([slotCodes.defect, "engine.error"])

/**
 * What the kernel lets the process allocate, resident or not, over its limit of memory: a wall for what grows faster than
 * the memory is looked at. Allocators and V8 hold more than they use.
 */
const dataBytesOf = (memoryBytes: number): number => 2 * memoryBytes + 2 ** 30

/** One slot process as its node sees it. Callbacks, not effects: this is the hot path of every run and query. */
export class SlotProcess {
  readonly id: string
  readonly folder: string
  /** Resolves when it serves, or to the reason why it never will. */
  readonly ready: Promise<{ readonly ok: true } | { readonly ok: false; readonly how: string }>
  /** Resolves when the process is gone. */
  readonly exited: Promise<string>
  readonly startedAt = performance.now()
  /** How the process ended; undefined while it lives. */
  ended: string | undefined
  /** Holders it has served. */
  served = 0
  /** A holder may have left something behind: it knows the folder, or called an operation that is not harmless. */
  used = false
  /** Something went wrong that may have left more behind than a reset finds: it serves no other holder. */
  isDoubtful = false
  /** The limit that its holder went over. */
  private limit: SlotFailure | undefined
  private isKilled = false
  private isGone = false
  private readonly harmless: ReadonlySet<string>
  private readonly standing: ReadonlyArray<string>
  private readonly child: ChildProcess
  private readonly hasLauncher: boolean
  private workerPid: number | undefined
  private readonly kernelKills = outOfMemoryKills()
  private request: { readonly id: number; readonly handlers: SlotRequest } | undefined
  private lastId = 0
  /** Kills the process when it does not stop after a cancel. */
  private grace: NodeJS.Timeout | undefined
  /** Fires when the operation has taken long. */
  private long: NodeJS.Timeout | undefined
  private isDemoted = false
  private tail = ""

  constructor(
    options: SlotPoolOptions,
    wall: Wall,
    id: string,
    place: { readonly folder: string; readonly root: string },
    onOutput: (text: string) => void,
  ) {
    const { folder } = place
    this.id = id
    this.folder = folder
    this.harmless = new Set([...(options.harmlessOps ?? []), resetOp])
    this.standing = options.standingFolders ?? []
    slotFolders(folder, this.standing)
    if (wall.parts.includes("user")) ownSlotFolder(folder, userOf(folder), this.standing)
    const limits: SlotLimits = {
      folder,
      standingFolders: this.standing,
      memoryLimitBytes: options.memoryLimitBytes,
      spillLimitBytes: options.spillLimitBytes,
      threads: options.threads,
    }
    const memoryBytes = options.limits?.memoryBytes
    const [command, ...args] = launchCommand(wall, {
      ...place,
      entry: fileURLToPath(options.entry),
      execArgv: [`--max-old-space-size=${heapMegabytes}`],
      threads: options.threads,
      ...(memoryBytes === undefined ? {} : { dataBytes: dataBytesOf(memoryBytes) }),
    })
    this.hasLauncher = hasLauncher(wall)
    this.child = spawn(command, args, {
      cwd: folder,
      env: { ...slotEnvironment(folder), RAT_SLOT: JSON.stringify(limits) },
      serialization: "advanced",
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    })
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.tail = (this.tail + text).slice(-tailLength)
        onOutput(text)
      })

    const closed = new Promise((resolve) => this.child.once("close", resolve))
    const ending = Promise.withResolvers<string>()
    this.exited = ending.promise
    let isFinished = false
    const finish = (how: string) => {
      if (isFinished) return
      isFinished = true
      this.ended = how
      const request = this.request
      this.request = undefined
      clearTimeout(this.grace)
      clearTimeout(this.long)
      if (this.limit !== undefined) request?.handlers.failed(this.limit)
      else request?.handlers.died(how)
      ending.resolve(how)
    }
    this.child.on("error", (error) => finish(error.message))
    this.child.on("exit", async (code, signal) => {
      this.isGone = true
      this.ended ??= signal ?? `exit code ${code}` // nobody gets it any more
      await Promise.race([closed, setTimeout(tailWaitMs)]) // its last words say why
      const end = endBehind(wall, code, signal)
      finish(this.howEnded(end.code, end.signal))
    })

    this.ready = new Promise((resolve) => {
      this.child.on("message", (message: FromSlot) => {
        if (message.kind === "ready") {
          this.workerPid = this.findWorker()
          if (this.workerPid !== undefined) setNiceness(this.workerPid, slotNiceness)
          resolve({ ok: true })
        } else this.receive(message)
      })
      this.exited.then((how) => {
        const said = this.tail.trim()
        resolve({ ok: false, how: said === "" ? how : `${how}: ${said}` })
      })
    })
  }

  /** Id of the process that works, as this process sees it; undefined until it serves. */
  get pid(): number | undefined {
    return this.workerPid
  }

  get busy(): boolean {
    return this.request !== undefined
  }

  /** Starts an operation; one at a time. */
  start(op: string, args: unknown, handlers: SlotRequest): number {
    if (this.request !== undefined) throw new Error(`Slot ${this.id} already executes an operation.`)
    const id = ++this.lastId
    if (this.limit !== undefined) {
      handlers.failed(this.limit)
      return id
    }
    if (this.ended !== undefined) {
      handlers.died(this.ended)
      return id
    }
    this.request = { id, handlers }
    this.long = globalThis.setTimeout(() => this.demote(), longAfterMs)
    if (!this.harmless.has(op)) this.used = true
    this.send({ kind: "call", id, op, args })
    return id
  }

  /** The next piece of a streamed answer may come. */
  more(id: number): void {
    if (this.request?.id === id) this.send({ kind: "more", id })
  }

  /** Asks the running operation to stop. If it has not ended within `graceMs`, the process is killed. */
  cancel(id: number, graceMs: number): void {
    if (this.request?.id !== id) return
    this.send({ kind: "cancel", id })
    this.grace = globalThis.setTimeout(() => this.kill(), graceMs)
  }

  /**
   * The holder went over a limit. Its operation, and every later one, fails with this. Within `graceMs` the operation may
   * end by itself; 0 kills the process at once.
   */
  exceed(limit: SlotFailure, graceMs: number): void {
    if (this.limit !== undefined) return
    this.limit = limit
    this.isDoubtful = true
    if (graceMs > 0 && this.request !== undefined) this.cancel(this.request.id, graceMs)
    else this.kill()
  }

  kill(): void {
    this.isKilled = true
    if (this.isGone) return
    const pid = this.pid
    // Not its launcher, after whose end it might live for a moment: that one ends with it.
    if (pid !== undefined && pid !== this.child.pid) {
      try {
        process.kill(pid, "SIGKILL")
        return
      } catch {} // it has just ended
    }
    this.child.kill("SIGKILL")
  }

  /** Ends the process and removes its folder. */
  async dispose(): Promise<void> {
    if (this.ended === undefined) this.kill()
    await this.exited
    // What cannot be removed now is removed by a sweep.
    await rm(this.folder, { recursive: true, force: true, maxRetries: 2 }).catch(() => {})
  }

  /** Removes what may be read. By the node: behind the wall the slot cannot. */
  async emptyInputs(): Promise<void> {
    emptyFolder(this.folder, "in", this.standing)
  }

  private demote(): void {
    if (this.pid === undefined) return
    this.isDemoted = true
    setNiceness(this.pid, longNiceness)
  }

  /** The operation is over. Where that takes a privilege that this process has not, the next holder gets another one. */
  private promote(): void {
    this.isDemoted = false
    if (this.pid !== undefined && !setNiceness(this.pid, slotNiceness)) this.isDoubtful = true
  }

  /** What was started is a launcher, whose child is a shell, whose child works. */
  private findWorker(): number | undefined {
    const { pid } = this.child
    if (!this.hasLauncher || pid === undefined) return pid
    const shell = childOf(pid)
    return (shell === null ? null : childOf(shell)) ?? undefined
  }

  private howEnded(code: number | null, signal: NodeJS.Signals | null): string {
    const how = signal ?? `exit code ${code}`
    if (/JavaScript heap out of memory/.test(this.tail))
      return `${how}, its ${heapMegabytes} MiB for JavaScript were full`
    if (signal === "SIGKILL" && this.isKilled) return `${how}, it did not stop when it was told to`
    if (signal === "SIGKILL" && outOfMemoryKills() > this.kernelKills)
      return `${how}, the machine ran out of memory and the kernel chose this process`
    if (signal === "SIGKILL") return `${how}, it was killed from outside`
    return signal !== null && crashes.has(signal) ? `${how}, it crashed` : how
  }

  private send(message: ToSlot): void {
    // A send to a process that has just died fails; its exit event tells the holder.
    this.child.send(message, () => {})
  }

  private receive(message: FromSlot): void {
    if (message.kind === "ready" || this.request?.id !== message.id) return
    const { handlers } = this.request
    if (message.kind === "event") {
      handlers.event(message.event)
      return
    }
    this.request = undefined
    clearTimeout(this.grace)
    clearTimeout(this.long)
    if (this.isDemoted) this.promote()
    if (this.limit !== undefined) {
      handlers.failed(this.limit)
      return
    }
    if (message.kind === "done") {
      handlers.done(message.value)
      return
    }
    // What comes out of a slot is not trusted to have any form.
    if (doubtful.has(String(message.error?.code))) this.isDoubtful = true
    handlers.failed(message.error)
  }
}
