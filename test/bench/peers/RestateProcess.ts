import { createServer } from "node:http2"
import { createRequire } from "node:module"
import type { AddressInfo } from "node:net"
import { servePeer } from "./Peer.ts"

/** `RestateProcess.ts FOLDER INGRESS_URL`: the service that Restate's server calls, and the load, which asks the server over HTTP. */

interface Context {
  readonly run: (name: string, step: () => Promise<void>) => Promise<void>
}
interface Sdk {
  readonly service: (options: {
    readonly name: string
    readonly handlers: Record<string, (context: Context) => Promise<void>>
  }) => unknown
  readonly createEndpointHandler: (options: {
    readonly services: ReadonlyArray<unknown>
  }) => (request: unknown, response: unknown) => void
}

const [folder = "", ingressUrl = ""] = process.argv.slice(2)
const sdk = createRequire(`${folder}/`)("@restatedev/restate-sdk") as Sdk
const nothing = async () => {}
const service = sdk.service({
  name: "bench",
  handlers: {
    three: async (context) => {
      for (const name of ["one", "two", "three"]) await context.run(name, nothing)
    },
  },
})
const server = createServer(sdk.createEndpointHandler({ services: [service] }) as never)
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
servePeer({ port: (server.address() as AddressInfo).port }, async () => {
  const response = await fetch(`${ingressUrl}/bench/three`, { method: "POST" })
  if (!response.ok) throw new Error(`Restate answered ${response.status}: ${await response.text()}`)
  await response.arrayBuffer()
})
