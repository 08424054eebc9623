import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { freePort } from "../../support/RatProcess.ts"
import { type Peer, startPeerProcess } from "./Peer.ts"
import { installPeer } from "./PeerInstall.ts"

const packages = { "@restatedev/restate-server": "1.7.12", "@restatedev/restate-sdk": "1.17.2" }

/** Longest time until a server that was started answers. */
const startMs = 60_000

const stopped = async (child: ChildProcess) => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, "exit")
  child.kill("SIGKILL")
  await gone
}

/** Restate with its own log: a server, a service of ours that it calls, and a client that asks it over HTTP. */
export const startRestate = async (): Promise<Peer | { readonly reason: string }> => {
  const installed = await installPeer("restate", packages)
  if ("reason" in installed) return installed
  const data = await mkdtemp(join(tmpdir(), "rat-peer-"))
  const [ingress, admin, fabric] = [await freePort(), await freePort(), await freePort()]
  const binary = join(
    installed.folder,
    "node_modules",
    "@restatedev",
    `restate-server-${process.platform}-${process.arch}`,
    "bin",
    "restate-server",
  )
  let output = ""
  const server = spawn(binary, ["--no-logo"], {
    cwd: data,
    env: {
      PATH: process.env.PATH ?? "",
      HOME: data,
      RESTATE_BASE_DIR: join(data, "restate"),
      RESTATE_LISTEN_MODE: "tcp",
      RESTATE_BIND_ADDRESS: `127.0.0.1:${fabric}`,
      RESTATE_ADVERTISED_ADDRESS: `http://127.0.0.1:${fabric}/`,
      RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${admin}`,
      RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${ingress}`,
      RESTATE_DISABLE_TELEMETRY: "true",
      DO_NOT_TRACK: "1",
      RUST_LOG: "warn",
    },
    stdio: ["ignore", "pipe", "pipe"],
  })
  for (const stream of [server.stdout, server.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output = (output + chunk).slice(-4_000)
    })
  }
  let service: Awaited<ReturnType<typeof startPeerProcess>> | undefined
  const close = async () => {
    await service?.stop()
    await stopped(server)
    await rm(data, { recursive: true, force: true })
  }
  try {
    service = await startPeerProcess(new URL("./RestateProcess.ts", import.meta.url), [
      installed.folder,
      `http://127.0.0.1:${ingress}`,
    ])
    const { port } = service.ready as { port: number }
    await registered(`http://127.0.0.1:${admin}`, `http://127.0.0.1:${port}`, () => {
      if (server.exitCode !== null) throw new Error(`restate-server ended with ${server.exitCode}:\n${output}`)
    })
    const { child, run } = service
    return { name: "restate", pids: () => [server.pid ?? 0, child.pid ?? 0], run, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Tells the server where its service is, as soon as it can be told. */
const registered = async (adminUrl: string, serviceUrl: string, check: () => void): Promise<void> => {
  const deadline = performance.now() + startMs
  for (;;) {
    check()
    const answer = await fetch(`${adminUrl}/deployments`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ uri: serviceUrl }),
    }).then(
      async (response) => (response.ok ? null : `${response.status} ${await response.text()}`),
      (error: Error) => error.message,
    )
    if (answer === null) return
    if (performance.now() > deadline) throw new Error(`Restate did not take the service: ${answer}`)
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}
