import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { RatClient } from "@rat/client"
import { type RunningNode, startNode } from "@rat/server"
import { Effect, References } from "effect"
import { s3Environment, s3Server } from "./S3Server.ts"

/** Where the objects of a test's node are: files in its data folder, or an S3 server over its real protocol. */
export type TestStore = "file" | "s3"

export interface TestNodeOptions {
  readonly store: TestStore
  /** Settings over the defaults; nothing is taken from the environment of whoever runs the tests. */
  readonly environment?: Readonly<Record<string, string>>
  /** A folder to start on again; default: a fresh one, removed afterwards. */
  readonly data?: string
}

export interface TestNode extends RunningNode {
  readonly client: RatClient
}

/** A folder that goes with the scope. Postgres under root runs as another user, so it lies where anybody may pass. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "rat-node-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
)

/** Starts a real node (embedded Postgres, slot processes, HTTP) on free ports; it stops with the scope. */
export const testNode = Effect.fn("testNode")(function* (options: TestNodeOptions) {
  const data = options.data ?? join(yield* temporaryFolder, "data")
  const store = options.store === "s3" ? s3Environment(yield* s3Server) : {}
  const node = yield* startNode({
    data,
    listen: "127.0.0.1:0",
    environment: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      // Two processors are shared by everything: few slots, small engines.
      RAT_RUNNER_SLOTS: "2",
      RAT_RUNNER_MEMORY_LIMIT: "512MiB",
      ...store,
      ...options.environment,
    },
  }).pipe(Effect.provideService(References.MinimumLogLevel, "Error"))
  return { ...node, client: new RatClient({ apiUrl: node.url }) } satisfies TestNode
})
