import { chmodSync, mkdirSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { Role } from "@rat/domain"
import { makeTcpFaultProxy, type TcpFault, type TcpFaultProxy } from "@rat/lakehouse"
import { Effect, Exit, Scope } from "effect"
import { signal } from "../support/Processes.ts"
import { type ClusterNode, makeClusterNode } from "./ClusterNode.ts"
import { type ClusterPostgres, startClusterPostgres } from "./ClusterPostgres.ts"
import { type ClusterStore, openClusterStore, type StoreKind } from "./ClusterStore.ts"
import { type Database, openDatabase } from "./Database.ts"

const everything = Role.literals

/** Roles of the first nodes: two can do everything, the others one thing each; further ones execute runs. */
const mixes: ReadonlyArray<ReadonlyArray<Role>> = [everything, ["runner"], everything, ["api"], ["control"], ["query"]]
export const mixOf = (nodes: number): ReadonlyArray<ReadonlyArray<Role>> =>
  Array.from({ length: nodes }, (_, index) => mixes[index] ?? ["runner"])

export interface ClusterOptions {
  /** Holds everything, logs included. */
  readonly folder: string
  readonly roles: ReadonlyArray<ReadonlyArray<Role>>
  readonly store: StoreKind
  readonly env?: Readonly<Record<string, string>>
}

/** Nodes in processes of their own, one Postgres, one object store, and proxies between them. */
export interface Cluster {
  readonly nodes: ReadonlyArray<ClusterNode>
  readonly withRole: (role: Role) => ReadonlyArray<ClusterNode>
  readonly postgres: ClusterPostgres
  readonly store: ClusterStore
  readonly database: Database
  readonly logs: string
  /** Of the way from one node to Postgres. */
  readonly setWeather: (node: ClusterNode, weather: TcpFault) => void
  readonly resetSessions: (node: ClusterNode) => void
  /** Everything is as on the first day: proxies pass, Postgres and all nodes run and say that they are ready. */
  readonly heal: () => Promise<void>
  /** Stops all nodes at once; complaints about how they went. */
  readonly drain: () => Promise<ReadonlyArray<string>>
  /** Ends everything, however. */
  readonly close: () => Promise<void>
}

/** Small, so that five nodes fit into two gigabytes, and patient, so that no run ends because its nodes were killed too often. */
const settings = {
  DB_MAX_CONNS: "6",
  DB_MIN_CONNS: "1",
  RAT_RUNNER_SLOTS: "2",
  RAT_RUNNER_THREADS: "1",
  RAT_RUNNER_MEMORY_LIMIT: "256MiB",
  RAT_QUERY_SLOTS: "1",
  RAT_QUERY_THREADS: "1",
  RAT_QUERY_MEMORY_LIMIT: "256MiB",
  RAT_MAX_ATTEMPTS: "100",
  RAT_RUNS_MAX_PER_PIPELINE: "1000000",
  RAT_LOG_FORMAT: "json",
  RAT_LOG_LEVEL: "info",
  S3_METADATA_TIMEOUT: "3s",
  S3_DATA_TIMEOUT: "5s",
}

const readySeconds = 180

export const startCluster = async (options: ClusterOptions): Promise<Cluster> => {
  const { folder } = options
  // Postgres does not run as root: it has to get through to its data.
  chmodSync(folder, 0o711)
  const logs = join(folder, "logs")
  const objects = join(folder, "objects")
  for (const path of [logs, objects]) mkdirSync(path, { recursive: true })

  const postgres = await startClusterPostgres(join(folder, "postgres"))
  const store = await openClusterStore(options.store, objects)
  const database = openDatabase(postgres.url)
  const scope = Effect.runSync(Scope.make())
  const within = <A>(effect: Effect.Effect<A, never, Scope.Scope>) => Effect.runPromise(Scope.provide(effect, scope))
  const proxies = new Map<string, TcpFaultProxy>()
  const nodes: Array<ClusterNode> = []

  // Nodes are processes of their own: whoever ends this one takes them along. Postgres has a watchdog.
  const killAll = () => {
    for (const node of nodes) if (node.isUp()) signal(node.pid(), "SIGKILL")
  }
  process.once("exit", killAll)

  const close = async () => {
    process.off("exit", killAll)
    await Promise.all(nodes.map((node) => node.kill()))
    await database.close()
    await postgres.stop()
    await store.close()
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }
  const heal = async () => {
    for (const node of nodes) {
      proxies.get(node.name)?.rule("pass")
      store.setWeather(node.name, "pass")
      node.resume()
    }
    store.setTrouble(undefined)
    await postgres.start()
    await Promise.all(nodes.map((node) => node.start()))
    const deadline = performance.now() + readySeconds * 1000
    for (;;) {
      const lacking = (await Promise.all(nodes.map(async (node) => ({ node, lacks: await node.lacks() })))).filter(
        ({ lacks }) => lacks !== null,
      )
      if (lacking.length === 0) return
      if (performance.now() > deadline) {
        const words = lacking.map(({ node, lacks }) => `${node.name}: ${lacks}`).join("; ")
        throw new Error(`not ready after ${readySeconds} s although nothing is broken: ${words}; logs: ${logs}`)
      }
      await delay(100)
    }
  }

  try {
    for (const [index, roles] of options.roles.entries()) {
      const name = `n${index + 1}`
      const proxy = await within(makeTcpFaultProxy({ host: "127.0.0.1", port: postgres.port }))
      proxies.set(name, proxy)
      nodes.push(
        await makeClusterNode({
          name,
          roles,
          folder: join(folder, name),
          log: join(logs, `${name}-${roles.length === everything.length ? "all" : roles.join("-")}.log`),
          env: {
            ...settings,
            // A node that does everything else as well.
            ...(roles.length === everything.length ? { RAT_RUNNER_SLOTS: "1" } : {}),
            ...options.env,
            ...(await store.join(name)),
            DATABASE_URL: postgres.urlAt(proxy.port),
          },
        }),
      )
    }
    // All at once: whoever comes first migrates.
    await heal()
  } catch (error) {
    await close()
    throw error
  }

  return {
    nodes,
    withRole: (role) => nodes.filter(({ roles }) => roles.includes(role)),
    postgres,
    store,
    database,
    logs,
    setWeather: (node, weather) => proxies.get(node.name)?.rule(weather),
    resetSessions: (node) => proxies.get(node.name)?.reset(),
    heal,
    drain: async () => {
      const codes = await Promise.all(
        nodes.map((node) =>
          node.stop().then(
            (code) => ({ node, code }),
            (error: Error) => ({ node, code: error.message }),
          ),
        ),
      )
      return codes.flatMap(({ node, code }) => (code === 0 ? [] : [`node ${node.name} stopped with ${code}`]))
    },
    close,
  }
}
