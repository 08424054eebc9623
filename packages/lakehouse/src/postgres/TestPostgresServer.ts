import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { isPostmasterOf, type PostgresServer, startPostgres, superuser } from "./PostgresServer.ts"

/** Names the loopback port on which the one process that owns the test server tells its URL. */
export const testPostgresVariable = "TEST_POSTGRES_BROKER"

const prefix = "rat-test-postgres-"

/** Folders of test runs that were killed; their servers ended with them. */
const removeLeftovers = () => {
  for (const name of readdirSync(tmpdir()).filter((name) => name.startsWith(prefix))) {
    const folder = join(tmpdir(), name)
    const lock = join(folder, "cluster", "postmaster.pid")
    try {
      const isOld = Date.now() - statSync(folder).mtimeMs > 60_000
      const pid = existsSync(lock) ? Number.parseInt(readFileSync(lock, "utf8"), 10) : 0
      if (isOld && !isPostmasterOf(pid, join(folder, "cluster"))) rmSync(folder, { recursive: true, force: true })
    } catch {
      // Another run removes it at this moment.
    }
  }
}

/** A server without fsync in a folder of its own. `stop` removes both. */
export const startTestPostgres = async (): Promise<{ url: string; stop: () => Promise<void> }> => {
  removeLeftovers()
  const folder = mkdtempSync(join(tmpdir(), prefix))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  let server: PostgresServer
  try {
    server = await startPostgres({ folder, isDurable: false })
  } catch (error) {
    remove()
    throw error
  }
  return {
    url: `postgres://${superuser}:${server.password}@127.0.0.1:${server.port}/postgres`,
    stop: async () => {
      await server.stop()
      remove()
    },
  }
}

/**
 * Global setup of vitest: one server for all test processes of the run. It starts when the first of them asks, so a
 * run that needs no database pays nothing, and ends with the run (or, if that is killed, by the server's watchdog).
 */
export default async function setup(): Promise<() => Promise<void>> {
  let server: ReturnType<typeof startTestPostgres> | undefined
  const sockets = new Set<Socket>()
  const broker = createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    socket.on("close", () => sockets.delete(socket))
    server ??= startTestPostgres()
    server.then(
      ({ url }) => socket.end(url),
      (error: Error) => socket.end(`error: ${error.message}`),
    )
  })
  const port = await new Promise<number>((resolve) =>
    broker.listen(0, "127.0.0.1", () => resolve((broker.address() as { port: number }).port)),
  )
  process.env[testPostgresVariable] = String(port)
  return async () => {
    for (const socket of sockets) socket.destroy()
    broker.close()
    await server?.then(({ stop }) => stop()).catch(() => {})
  }
}
