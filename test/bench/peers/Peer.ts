import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"

/** How many workflows a system finished in one window, and how long that took, last ones included. */
export interface Finished {
  readonly count: number
  readonly ms: number
}

/** A system that executes durable workflows of three steps which do nothing. */
export interface Peer {
  readonly name: string
  /** Its processes, the one that makes the load included where that is one of its own. */
  readonly pids: () => ReadonlyArray<number>
  /** Begins workflows for `windowMs`, `width` at once, and waits for the last one. */
  readonly run: (windowMs: number, width: number) => Promise<Finished>
  readonly close: () => Promise<void>
}

/** Starts what must be asked for: the next one begins where one has ended, until the window is over. */
export const inWindow = async (windowMs: number, width: number, one: () => Promise<unknown>): Promise<Finished> => {
  const started = performance.now()
  let count = 0
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (performance.now() - started < windowMs) {
        await one()
        count++
      }
    }),
  )
  return { count, ms: performance.now() - started }
}

/** A system that is a library: it and its load in a process of their own. */
export interface PeerProcess {
  readonly child: ChildProcess
  readonly run: (windowMs: number, width: number) => Promise<Finished>
  readonly stop: () => Promise<void>
}

type FromPeer = { readonly ready: unknown } | { readonly finished: Finished } | { readonly failed: string }

/** Starts a module that calls `servePeer`; answers with what it said when it was ready. */
export const startPeerProcess = async (
  module: URL,
  args: ReadonlyArray<string>,
): Promise<PeerProcess & { readonly ready: unknown }> => {
  const child = fork(module, args, {
    // Warnings of theirs are nobody's business here.
    env: { ...process.env, NODE_NO_WARNINGS: "1", RESTATE_LOGGING: "ERROR" },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  })
  const answer = async (): Promise<FromPeer> => {
    const [message] = (await Promise.race([
      once(child, "message"),
      once(child, "exit").then(([code]) => [{ failed: `${module.pathname} ended with exit code ${code}` }]),
    ])) as [FromPeer]
    if ("failed" in message) throw new Error(message.failed)
    return message
  }
  const first = await answer()
  return {
    child,
    ready: "ready" in first ? first.ready : null,
    run: async (windowMs, width) => {
      child.send({ windowMs, width })
      const message = await answer()
      if (!("finished" in message)) throw new Error(`${module.pathname} gave no answer`)
      return message.finished
    },
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const gone = once(child, "exit")
      child.kill("SIGKILL")
      await gone
    },
  }
}

/** The other side of `startPeerProcess`: serves windows until the process is killed. */
export const servePeer = (ready: unknown, one: () => Promise<unknown>): void => {
  process.on("message", ({ windowMs, width }: { windowMs: number; width: number }) => {
    inWindow(windowMs, width, one).then(
      (finished) => process.send?.({ finished }),
      (error) => process.send?.({ failed: String(error?.stack ?? error) }),
    )
  })
  process.on("disconnect", () => process.exit(0))
  process.send?.({ ready })
}
