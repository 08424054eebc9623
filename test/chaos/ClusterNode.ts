import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, writeSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import type { Role } from "@rat/domain"
import { makeProcesses, signal } from "../support/Processes.ts"
import { freePort, processTree } from "../support/RatProcess.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

export interface NodeOptions {
  readonly name: string
  readonly roles: ReadonlyArray<Role>
  /** Holds the node's data, its temporary files and nothing else. */
  readonly folder: string
  /** Everything that it prints goes to the end of this file. */
  readonly log: string
  readonly env: Readonly<Record<string, string>>
}

/** One process from its start to its end. Times are milliseconds since 1970. */
export interface Life {
  readonly pid: number
  readonly startedAt: number
  endedAt?: number
}

/** One node of a cluster as people start it: `rat serve`, in a process of its own, at one address over all its lives. */
export interface ClusterNode {
  readonly name: string
  readonly roles: ReadonlyArray<Role>
  readonly url: string
  /** The newest is the last. */
  readonly lives: ReadonlyArray<Life>
  readonly pid: () => number
  readonly isUp: () => boolean
  /** Starts it unless it runs, again and again like a supervisor when it ends at once; answers when it serves. */
  readonly start: () => Promise<void>
  /** What it lacks, as `/health/ready` says; null: it is ready. */
  readonly lacks: () => Promise<string | null>
  /** SIGKILL to the node alone: its slots have to notice by themselves. */
  readonly kill: () => Promise<void>
  /** SIGSTOP and SIGCONT of the node alone. */
  readonly pause: () => void
  readonly resume: () => void
  /** SIGTERM; answers with the exit code when it has gone. */
  readonly stop: () => Promise<number | null>
  readonly slots: () => ReadonlyArray<number>
  /** Processes of any of its lives that still live. */
  readonly left: () => ReadonlyArray<string>
  /** Folders of slots and temporary files that are there. */
  readonly files: () => { readonly slots: ReadonlyArray<string>; readonly temporary: ReadonlyArray<string> }
}

/** A machine that does much else takes its time. */
const startSeconds = 240
/** Longest time that a node may take to stop, however many runs it has. */
const stopSeconds = 120

const ended = (child: ChildProcess) =>
  new Promise<number | null>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve(child.exitCode)
    else child.once("exit", (code) => resolve(code))
  })

const answers = (url: string) =>
  fetch(url, { signal: AbortSignal.timeout(2_000) }).then(
    async (response) => {
      await response.arrayBuffer()
      return response.ok
    },
    () => false,
  )

const lackOf = (url: string) =>
  fetch(url, { signal: AbortSignal.timeout(5_000) }).then(
    async (response) => {
      const text = await response.text()
      return response.ok ? null : text
    },
    (error: unknown) => String(error),
  )

const list = (folder: string) => (existsSync(folder) ? readdirSync(folder) : [])

export const makeClusterNode = async (options: NodeOptions): Promise<ClusterNode> => {
  const { name, roles, folder } = options
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const data = join(folder, "data")
  const temporary = join(folder, "tmp")
  mkdirSync(temporary, { recursive: true })
  const processes = makeProcesses()
  const lives: Array<Life> = []
  let child: ChildProcess | undefined

  const launch = () => {
    const log = openSync(options.log, "a")
    writeSync(log, `--- start ${lives.length + 1} at ${new Date().toISOString()}\n`)
    const args = ["serve", "--roles", roles.join(), "--data", data, "--listen", `127.0.0.1:${port}`]
    const started = spawn(`${root}node_modules/.bin/node`, [`${root}packages/cli/src/main.ts`, ...args], {
      env: { ...process.env, ...options.env, TMPDIR: temporary },
      stdio: ["ignore", log, log],
    })
    closeSync(log)
    const life: Life = { pid: started.pid!, startedAt: Date.now() }
    lives.push(life)
    void ended(started).then(() => {
      life.endedAt = Date.now()
    })
    child = started
  }
  const isUp = () => child !== undefined && child.exitCode === null && child.signalCode === null
  const pid = () => lives.at(-1)!.pid

  return {
    name,
    roles,
    url,
    lives,
    pid,
    isUp,
    lacks: async () => (isUp() ? lackOf(`${url}/health/ready`) : "it is down"),
    start: async () => {
      const deadline = performance.now() + startSeconds * 1000
      if (!isUp()) launch()
      while (!(await answers(`${url}/health/live`))) {
        if (performance.now() > deadline)
          throw new Error(`node ${name} did not start within ${startSeconds} s: ${options.log}`)
        await delay(50)
        if (!isUp()) {
          // It could not reach what it needs; a supervisor waits a little, too.
          await delay(500)
          launch()
        }
      }
    },
    kill: async () => {
      if (!isUp()) return
      processes.look(pid())
      signal(pid(), "SIGKILL")
      await ended(child!)
    },
    pause: () => {
      if (isUp()) signal(pid(), "SIGSTOP")
    },
    resume: () => {
      if (isUp()) signal(pid(), "SIGCONT")
    },
    stop: async () => {
      if (!isUp()) return 0
      processes.look(pid())
      const going = child!
      signal(pid(), "SIGTERM")
      const code = await Promise.race([ended(going), delay(stopSeconds * 1000, "late" as const, { ref: false })])
      if (code !== "late") return code
      for (const member of processTree(going.pid!)) signal(member, "SIGKILL")
      throw new Error(`node ${name} did not stop within ${stopSeconds} s: ${options.log}`)
    },
    slots: () => (isUp() ? processes.slots(pid()).map((slot) => slot.pid) : []),
    left: processes.left,
    files: () => ({
      slots: list(join(data, "slots")).flatMap((pool) =>
        list(join(data, "slots", pool)).map((slot) => `${pool}/${slot}`),
      ),
      // Node's own cache of compiled modules may be there.
      temporary: list(temporary).filter((entry) => entry !== "node-compile-cache"),
    }),
  }
}
