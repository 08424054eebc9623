import { type ChildProcess, spawn } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { createServer } from "node:net"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** A loopback port that is free now. */
export const freePort = () =>
  new Promise<number>((resolve, reject) => {
    const server = createServer()
    server.on("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => (typeof address === "object" && address !== null ? resolve(address.port) : reject(address)))
    })
  })

/** Parent of every process, from /proc. */
const parents = () => {
  const found = new Map<number, number>()
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8")
      // The command may hold spaces and parentheses; the fields begin behind the last one.
      found.set(Number(entry), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]))
    } catch {
      // It ended between the listing and the reading.
    }
  }
  return found
}

/** `pid` and everything below it. */
export const processTree = (pid: number): ReadonlyArray<number> => {
  const parentOf = parents()
  const tree = [pid]
  for (const member of tree) for (const [child, parent] of parentOf) if (parent === member) tree.push(child)
  return tree
}

/** A server started as people start it: `rat up`, in a process of its own. */
export interface RatProcess {
  readonly url: string
  readonly pid: number
  /** Everything it printed so far. */
  readonly output: () => string
  /** SIGINT, as Ctrl-C; answers with the exit code. */
  readonly stop: () => Promise<number | null>
  /** SIGKILL to the process and everything below it, Postgres and slots included. */
  readonly killTree: () => Promise<void>
}

const ended = (child: ChildProcess) =>
  new Promise<number | null>((resolve) =>
    child.exitCode !== null || child.signalCode !== null
      ? resolve(child.exitCode)
      : child.once("exit", (code) => resolve(code)),
  )

/** Starts `rat up` on a data folder and waits until it is ready; fails with what it printed when it ends before. */
export const startRat = async (options: {
  readonly data: string
  readonly port?: number
  readonly env?: Readonly<Record<string, string>>
}): Promise<RatProcess> => {
  const port = options.port ?? (await freePort())
  const child = spawn(
    `${root}node_modules/.bin/node`,
    [`${root}packages/cli/src/main.ts`, "up", "--data", options.data, "--listen", `127.0.0.1:${port}`],
    { env: { ...process.env, ...options.env }, stdio: ["ignore", "pipe", "pipe"] },
  )
  let printed = ""
  const keep = (chunk: Buffer) => {
    printed += chunk.toString()
  }
  child.stdout.on("data", keep)
  child.stderr.on("data", keep)
  const url = `http://127.0.0.1:${port}`
  const deadline = Date.now() + 60_000
  for (;;) {
    if (child.exitCode !== null) throw new Error(`rat up ended with ${child.exitCode}:\n${printed}`)
    const ready = await fetch(`${url}/health/ready`).then(
      async (response) => ((await response.json()) as { readonly status: string }).status === "ready",
      () => false,
    )
    if (ready) break
    if (Date.now() > deadline) {
      child.kill("SIGKILL")
      throw new Error(`rat up was not ready after 60 s:\n${printed}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return {
    url,
    pid: child.pid as number,
    output: () => printed,
    stop: () => {
      child.kill("SIGINT")
      return ended(child)
    },
    killTree: async () => {
      for (const pid of processTree(child.pid as number)) {
        try {
          process.kill(pid, "SIGKILL")
        } catch {
          // Already gone.
        }
      }
      await ended(child)
    },
  }
}
