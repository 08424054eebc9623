import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type RatProcess, startRat } from "../support/RatProcess.ts"

/** A server of its own for one bench, driven over HTTP as any client would. */
export interface BenchServer extends RatProcess {
  readonly data: string
  /** JSON call; throws with the server's message when the answer is an error. */
  readonly call: <A>(method: string, path: string, body?: unknown) => Promise<A>
  /** A pipeline with one statement and quality tests by name. */
  readonly push: (
    pipelines: ReadonlyArray<{
      layer: string
      name: string
      sql: string
      config?: string
      tests?: Record<string, string>
    }>,
  ) => Promise<void>
  readonly submit: (pipeline: { layer: string; name: string }) => Promise<string>
  /** Follows a run's events to its end; answers with its last status and when that status arrived. */
  readonly follow: (runId: string) => Promise<{ readonly status: string; readonly seenAt: number }>
  readonly close: () => Promise<void>
}

/** Milliseconds since the epoch with a fraction: comparable with the server's clock on the same machine. */
export const nowMs = () => performance.timeOrigin + performance.now()

export const startBenchServer = async (env: Record<string, string> = {}): Promise<BenchServer> => {
  const data = await mkdtemp(join(tmpdir(), "rat-bench-"))
  const server = await startRat({ data, env: { RAT_MAX_PENDING_PER_NAMESPACE: "100000", ...env } })
  const call = async <A>(method: string, path: string, body?: unknown): Promise<A> => {
    const response = await fetch(`${server.url}${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return JSON.parse(text) as A
  }
  return {
    ...server,
    data,
    call,
    push: async (pipelines) => {
      const files = pipelines.flatMap(({ layer, name, sql, config, tests }) => {
        const folder = `pipelines/${layer}/${name}`
        return [
          { path: `${folder}/pipeline.sql`, content: sql },
          ...(config === undefined ? [] : [{ path: `${folder}/config.yaml`, content: config }]),
          ...Object.entries(tests ?? {}).map(([test, text]) => ({
            path: `${folder}/tests/quality/${test}.sql`,
            content: text,
          })),
        ]
      })
      await call("PUT", "/api/v1/projects/default", { files })
    },
    submit: async ({ layer, name }) => {
      const { run_id } = await call<{ run_id: string }>("POST", "/api/v1/runs", {
        namespace: "default",
        layer,
        pipeline: name,
      })
      return run_id
    },
    follow: async (runId) => {
      const response = await fetch(`${server.url}/api/v1/runs/${runId}/logs`, {
        headers: { accept: "text/event-stream" },
      })
      if (response.body === null) throw new Error("no event stream")
      const decoder = new TextDecoder()
      let text = ""
      for await (const chunk of response.body) {
        text += decoder.decode(chunk as Uint8Array, { stream: true })
        const ended = /event: status\r?\n(?:id:[^\n]*\n)?data: (.*)/g
        for (const [, data = "{}"] of text.matchAll(ended)) {
          const { status } = JSON.parse(data) as { status: string }
          if (["success", "failed", "cancelled"].includes(status)) return { status, seenAt: nowMs() }
        }
      }
      throw new Error(`the event stream of run ${runId} ended without a status`)
    },
    close: async () => {
      await server.stop()
      await rm(data, { recursive: true, force: true })
    },
  }
}
