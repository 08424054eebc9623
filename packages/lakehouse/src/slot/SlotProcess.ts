import { type ChildProcess, fork } from "node:child_process"
import { mkdirSync } from "node:fs"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import type { SlotPoolOptions } from "./SlotPool.ts"
import { type FromSlot, resetOp, type SlotFailure, type SlotLimits, type ToSlot } from "./SlotProtocol.ts"

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

/** One slot process as its node sees it. Callbacks, not effects: this is the hot path of every run and query. */
export class SlotProcess {
  readonly id: string
  readonly folder: string
  /** Resolves when it serves, or to the reason why it never will. */
  readonly ready: Promise<{ readonly ok: true } | { readonly ok: false; readonly how: string }>
  /** Resolves when the process is gone. */
  readonly exited: Promise<string>
  /** How the process ended; undefined while it lives. */
  ended: string | undefined
  /** Holders it has served. */
  served = 0
  /** A holder may have left something behind: it knows the folder, or called an operation that is not harmless. */
  used = false
  private readonly harmless: ReadonlySet<string>
  private readonly child: ChildProcess
  private request: { readonly id: number; readonly handlers: SlotRequest } | undefined
  private lastId = 0
  /** Kills the process when it does not stop after a cancel. */
  private grace: NodeJS.Timeout | undefined
  private tail = ""

  constructor(options: SlotPoolOptions, id: string, folder: string, onOutput: (text: string) => void) {
    this.id = id
    this.folder = folder
    this.harmless = new Set([...(options.harmlessOps ?? []), resetOp])
    for (const name of ["in", "out", "spill"]) mkdirSync(join(folder, name), { recursive: true, mode: 0o700 })
    const limits: SlotLimits = {
      folder,
      memoryLimitBytes: options.memoryLimitBytes,
      spillLimitBytes: options.spillLimitBytes,
      threads: options.threads,
    }
    // Nothing of the node's environment: it holds secrets.
    const env = {
      PATH: process.env.PATH ?? "",
      HOME: folder,
      TMPDIR: join(folder, "spill"),
      TZ: "UTC",
      LANG: "C.UTF-8",
      RAT_SLOT: JSON.stringify(limits),
    }
    this.child = fork(options.entry, [], {
      cwd: folder,
      env,
      execPath: process.execPath,
      execArgv: [`--max-old-space-size=${heapMegabytes}`],
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
    const end = (how: string) => {
      if (this.ended !== undefined) return
      this.ended = how
      const request = this.request
      this.request = undefined
      clearTimeout(this.grace)
      request?.handlers.died(how)
      ending.resolve(how)
    }
    this.child.on("error", (error) => end(error.message))
    this.child.on("exit", (code, signal) => end(signal ?? `exit code ${code}`))

    this.ready = new Promise((resolve) => {
      this.child.on("message", (message: FromSlot) => {
        if (message.kind === "ready") resolve({ ok: true })
        else this.receive(message)
      })
      this.exited.then(async (how) => {
        await Promise.race([closed, setTimeout(tailWaitMs)])
        const said = this.tail.trim()
        resolve({ ok: false, how: said === "" ? how : `${how}: ${said}` })
      })
    })
  }

  get pid(): number | undefined {
    return this.child.pid
  }

  get busy(): boolean {
    return this.request !== undefined
  }

  /** Starts an operation; one at a time. */
  start(op: string, args: unknown, handlers: SlotRequest): number {
    if (this.request !== undefined) throw new Error(`Slot ${this.id} already executes an operation.`)
    const id = ++this.lastId
    if (this.ended !== undefined) {
      handlers.died(this.ended)
      return id
    }
    this.request = { id, handlers }
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

  kill(): void {
    this.child.kill("SIGKILL")
  }

  /** Ends the process and removes its folder. */
  async dispose(): Promise<void> {
    if (this.ended === undefined) this.kill()
    await this.exited
    // What cannot be removed now is removed at the pool's next start.
    await rm(this.folder, { recursive: true, force: true }).catch(() => {})
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
    if (message.kind === "done") handlers.done(message.value)
    else handlers.failed(message.error)
  }
}
