import { realpathSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { type PostgresServer, startPostgres, superuser } from "@rat/lakehouse"
import { processesIn, signal } from "../support/Processes.ts"

/** The one Postgres of a cluster, which others may kill: it comes back on the same port with the same data. */
export interface ClusterPostgres {
  readonly port: number
  /** Straight to the server, for those who watch. */
  readonly url: string
  /** The same through another port. */
  readonly urlAt: (port: number) => string
  /** SIGKILL to the postmaster. Its sessions end by themselves, as soon as they notice. */
  readonly kill: () => Promise<void>
  /** Immediate shutdown: sessions are cut, nothing is written any more, the next start recovers. */
  readonly stopAtOnce: () => Promise<void>
  /** Answers when it accepts connections. */
  readonly start: () => Promise<void>
  readonly stop: () => Promise<void>
}

/** Longest time that sessions of a postmaster that is gone may take to notice. */
const noticeMs = 20_000

/** `folder` is the server's own. Commits are durable: what was acknowledged survives a kill. */
export const startClusterPostgres = async (folder: string): Promise<ClusterPostgres> => {
  let server: PostgresServer | undefined = await startPostgres({ folder, isDurable: true })
  const { port, password } = server
  const cluster = realpathSync(join(folder, "cluster"))
  const urlAt = (at: number) => `postgres://${superuser}:${password}@127.0.0.1:${at}/postgres`

  /** A server on files that sessions of the last one still write would destroy them; Postgres itself refuses to start then. */
  const end = async (name: NodeJS.Signals) => {
    if (server === undefined) return
    signal(server.pid, name)
    await server.exited
    server = undefined
    const deadline = performance.now() + noticeMs
    while (processesIn(cluster).length > 0) {
      if (performance.now() > deadline)
        throw new Error(`sessions of a killed Postgres live on: ${processesIn(cluster)}`)
      await delay(10)
    }
  }
  return {
    port,
    url: urlAt(port),
    urlAt,
    kill: () => end("SIGKILL"),
    stopAtOnce: () => end("SIGQUIT"),
    start: async () => {
      server ??= await startPostgres({ folder, isDurable: true })
    },
    stop: async () => {
      await server?.stop()
      server = undefined
    },
  }
}
