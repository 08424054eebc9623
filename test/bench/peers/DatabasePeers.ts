import { chmod, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { startPostgres, superuser } from "@rat/lakehouse"
import { type Peer, startPeerProcess } from "./Peer.ts"
import { installPeer } from "./PeerInstall.ts"

/** A peer over a Postgres of its own, of the kind and with the settings that ours has, fsync included. */
const databasePeer = async (
  name: string,
  module: URL,
  packages: Readonly<Record<string, string>>,
  args: ReadonlyArray<string> = [],
): Promise<Peer | { readonly reason: string }> => {
  const installed = await installPeer(name, packages)
  if ("reason" in installed) return installed
  const data = await mkdtemp(join(tmpdir(), "rat-peer-"))
  await chmod(data, 0o711) // the server may run as another user
  const server = await startPostgres({ folder: data, isDurable: true })
  const url = `postgresql://${superuser}:${server.password}@127.0.0.1:${server.port}/postgres`
  const close = async () => {
    await server.stop()
    await rm(data, { recursive: true, force: true })
  }
  try {
    const { child, run, stop } = await startPeerProcess(module, [installed.folder, url, ...args])
    return {
      name,
      pids: () => [server.pid, child.pid ?? 0],
      run,
      close: async () => {
        await stop()
        await close()
      },
    }
  } catch (error) {
    await close()
    throw error
  }
}

export const startDbos = () =>
  databasePeer("dbos", new URL("./DbosProcess.ts", import.meta.url), { "@dbos-inc/dbos-sdk": "5.3.0" })

export const startGraphile = (width: number) =>
  databasePeer("graphile", new URL("./GraphileProcess.ts", import.meta.url), { "graphile-worker": "0.18.0" }, [
    String(width),
  ])
