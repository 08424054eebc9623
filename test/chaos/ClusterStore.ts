import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { type Fault, makeFaultProxy, makeTcpFaultProxy, type TcpFault, type TcpFaultProxy } from "@rat/lakehouse"
import { Effect, Exit, Scope } from "effect"
import { s3Environment, s3Server } from "../support/S3Server.ts"

export type StoreKind = "folder" | "s3"

/** The objects of a cluster: a folder that all nodes share, or an S3 server with a proxy of its own for each node. */
export interface ClusterStore {
  readonly kind: StoreKind
  /** What a node has in its environment to find it. */
  readonly join: (node: string) => Promise<Readonly<Record<string, string>>>
  /** Of the way from one node to it. Nothing happens to a folder. */
  readonly setWeather: (node: string, weather: TcpFault) => void
  readonly reset: (node: string) => void
  /** What the server itself does with requests; undefined: it is well. */
  readonly setTrouble: (trouble: (() => Fault) | undefined) => void
  /** An object by the location that table metadata gives, past all proxies; undefined: it is not there. */
  readonly read: (location: string) => Promise<Buffer | undefined>
  readonly close: () => Promise<void>
}

const folderStore = (folder: string): ClusterStore => ({
  kind: "folder",
  join: async () => ({ RAT_STORE: folder }),
  setWeather: () => {},
  reset: () => {},
  setTrouble: () => {},
  read: (location) => readFile(fileURLToPath(location)).catch(() => undefined),
  close: async () => {},
})

const s3Store = async (): Promise<ClusterStore> => {
  const scope = Effect.runSync(Scope.make())
  const within = <A>(effect: Effect.Effect<A, never, Scope.Scope>) => Effect.runPromise(Scope.provide(effect, scope))
  const server = await within(s3Server)
  const front = await within(makeFaultProxy(server))
  // The server behind ignores If-None-Match, on which several nodes rely.
  const well = (): Fault => "conditional"
  front.rule(well)
  const proxies = new Map<string, TcpFaultProxy>()
  return {
    kind: "s3",
    join: async (node) => {
      const proxy =
        proxies.get(node) ??
        (await within(makeTcpFaultProxy({ host: "127.0.0.1", port: Number(new URL(front.url).port) })))
      proxies.set(node, proxy)
      return s3Environment(`http://127.0.0.1:${proxy.port}`)
    },
    setWeather: (node, weather) => proxies.get(node)?.rule(weather),
    reset: (node) => proxies.get(node)?.reset(),
    setTrouble: (trouble) => front.rule(trouble ?? well),
    read: async (location) => {
      const response = await fetch(`${server}/${location.replace(/^s3:\/\//, "")}`)
      return response.ok ? Buffer.from(await response.arrayBuffer()) : undefined
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void)),
  }
}

export const openClusterStore = (kind: StoreKind, folder: string): Promise<ClusterStore> =>
  kind === "s3" ? s3Store() : Promise.resolve(folderStore(folder))
