import { chmodSync, mkdirSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type ClusterNode, makeClusterNode } from "../chaos/ClusterNode.ts"
import { startClusterPostgres } from "../chaos/ClusterPostgres.ts"
import { type Database, openDatabase } from "../chaos/Database.ts"

/** Nodes in processes of their own on one durable Postgres, for benches that ask what more nodes bring. */
export interface BenchCluster {
  readonly database: Database
  /** JSON call to the front node; throws with the server's message when the answer is an error. */
  readonly call: <A>(method: string, path: string, body?: unknown) => Promise<A>
  /** Starts runner nodes until there are so many; answers when they are ready. */
  readonly runners: (count: number) => Promise<void>
  readonly close: () => Promise<void>
}

const settings = {
  RAT_RUNNER_THREADS: "1",
  RAT_RUNNER_MEMORY_LIMIT: "256MiB",
  RAT_MAX_PENDING_PER_NAMESPACE: "1000000",
  RAT_RUNS_MAX_PER_PIPELINE: "1000000",
  RAT_LOG_FORMAT: "json",
  RAT_LOG_LEVEL: "warn",
  DB_MIN_CONNS: "2",
}

/** A front node (api, control); runner nodes come with `runners`. */
export const startBenchCluster = async (slotsPerRunner: number): Promise<BenchCluster> => {
  const folder = await mkdtemp(join(tmpdir(), "rat-bench-"))
  // Postgres does not run as root: it has to get through to its data.
  chmodSync(folder, 0o711)
  const objects = join(folder, "objects")
  mkdirSync(objects)
  const postgres = await startClusterPostgres(join(folder, "postgres"))
  const database = openDatabase(postgres.url)
  const nodes: Array<ClusterNode> = []
  const add = async (name: string, roles: ClusterNode["roles"], env: Record<string, string>) => {
    const node = await makeClusterNode({
      name,
      roles,
      folder: join(folder, name),
      log: join(folder, `${name}.log`),
      env: { ...settings, ...env, RAT_STORE: objects, DATABASE_URL: postgres.url },
    })
    nodes.push(node)
    await node.start()
    for (let lacks = await node.lacks(); lacks !== null; lacks = await node.lacks()) {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    return node
  }
  const close = async () => {
    await Promise.all(nodes.map((node) => node.kill()))
    await database.close()
    await postgres.stop()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    const front = await add("front", ["api", "control"], {})
    return {
      database,
      call: async <A>(method: string, path: string, body?: unknown): Promise<A> => {
        const response = await fetch(`${front.url}${path}`, {
          method,
          ...(body === undefined
            ? {}
            : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
        })
        const text = await response.text()
        if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
        return JSON.parse(text) as A
      },
      runners: async (count) => {
        const missing = count - (nodes.length - 1)
        const first = nodes.length
        await Promise.all(
          Array.from({ length: missing }, (_, index) =>
            add(`runner-${first + index}`, ["runner"], { RAT_RUNNER_SLOTS: String(slotsPerRunner) }),
          ),
        )
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
