import type { Answer, RatClient } from "@rat/client"
import { Effect, Option } from "effect"
import { Command } from "effect/cli"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { connect, connectionFlags, request } from "../option/Connection.ts"
import { jsonText, outputFlags } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { countText } from "../output/Quantity.ts"
import { paintStatus } from "../output/Style.ts"

const runStatuses = ["pending", "running", "failed"] as const

const gather = Effect.fnUntraced(function* (client: RatClient) {
  const live = yield* request((signal) => client.health.live({ signal }))
  const ready = yield* request((signal) => client.health.ready({ signal }))
  // Without Postgres and the catalog a server cannot count.
  const counts =
    ready.checks.postgres?.status === "ok" && ready.checks.catalog?.status === "ok"
      ? Option.some(
          yield* request(async (signal) => {
            const [pipelines, tables, ...runs] = await Promise.all([
              client.pipelines.list({ limit: 1 }, { signal }),
              client.tables.list({ limit: 1 }, { signal }),
              ...runStatuses.map((status) => client.runs.list({ status, limit: 1 }, { signal })),
            ])
            const byStatus = Object.fromEntries(runStatuses.map((status, index) => [status, runs[index]!.total]))
            return { pipelines: pipelines.total, tables: tables.total, runs: byStatus }
          }),
        )
      : Option.none()
  return { live, ready, counts: Option.getOrNull(counts) }
})

const checkLines = (ready: Answer<"health", "ready">, output: Output["Service"]) =>
  Object.entries(ready.checks).map(([name, check]) => {
    const circuit = check.circuit === undefined || check.circuit === "closed" ? "" : `  (circuit ${check.circuit})`
    return `  ${name.padEnd(14)} ${paintStatus(output.dataStyle, check.status)}${circuit}${check.error === undefined ? "" : `  ${check.error}`}${check.impact === undefined ? "" : `\n${" ".repeat(17)}${check.impact}`}`
  })

export const status = Command.make(
  "status",
  { json: outputFlags.json, ...connectionFlags },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const client = yield* connect(choice)
    const { live, ready, counts } = yield* gather(client)
    if (choice.json) yield* output.data(jsonText({ url: client.apiUrl, server: live, ready, counts }))
    else {
      yield* output.data(
        `RAT ${live.version} at ${output.dataStyle.bold(client.apiUrl)}: ${paintStatus(output.dataStyle, ready.status)}`,
      )
      for (const line of checkLines(ready, output)) yield* output.data(line)
      if (counts !== null) {
        const { pipelines, tables, runs } = counts
        yield* output.data(
          `  ${countText(pipelines)} pipelines, ${countText(tables)} tables; runs: ${runStatuses.map((word) => `${countText(runs[word]!)} ${word}`).join(", ")}`,
        )
      }
    }
    if (ready.status !== "ready") {
      const broken = Object.entries(ready.checks).filter(([, check]) => check.status !== "ok")
      return yield* new CliFailure({
        message: `The server is ${ready.status === "degraded" ? "degraded" : "not ready"}: ${broken.map(([name]) => name).join(", ")}.`,
        next: "`rat doctor` looks for causes on this machine.",
        exitCode: ExitCode.failed,
      })
    }
  }),
).pipe(
  Command.withDescription("Show whether the server is ready, and what it holds"),
  Command.withExamples([{ command: "rat status", description: "Ask the server at RAT_URL or on this machine" }]),
)
