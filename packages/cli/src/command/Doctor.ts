import { Effect, Option } from "effect"
import { Command } from "effect/cli"
import { type Check, failed, ok } from "../doctor/Check.ts"
import {
  checkDataFolder,
  checkDisk,
  checkNode,
  checkObjectStore,
  checkPort,
  checkPostgres,
} from "../doctor/MachineChecks.ts"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { dataFlag, serverAt } from "../node/LocalNode.ts"
import { apiUrlOf, connect, connectionFlags, request } from "../option/Connection.ts"
import { jsonText, outputFlags } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { paintStatus } from "../output/Style.ts"

const onThisMachine = (url: string) => ["127.0.0.1", "localhost", "[::1]"].includes(new URL(url).hostname)

export const doctor = Command.make(
  "doctor",
  { data: dataFlag, json: outputFlags.json, ...connectionFlags },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const url = yield* apiUrlOf(choice.url)
    const data = Option.getOrUndefined(choice.data) ?? process.env.RAT_DATA ?? "./.rat"
    const version = yield* serverAt(url)
    const checks: Array<Check> = [checkNode(), checkDataFolder(data), checkDisk(data)]
    if (version === undefined) {
      checks.push(
        yield* Effect.promise(() => checkPostgres(process.env.DATABASE_URL)),
        yield* Effect.promise(() => checkObjectStore(process.env.S3_ENDPOINT)),
      )
    }
    if (onThisMachine(url)) checks.push(yield* Effect.promise(() => checkPort(url, version !== undefined)))
    if (version === undefined) {
      checks.push(
        onThisMachine(url)
          ? ok("server", `none at ${url}; rat up starts one`)
          : failed(
              "server",
              `${url} does not answer as a RAT server`,
              "Check --url or RAT_URL, and that machine's network.",
            ),
      )
    } else {
      const client = yield* connect(choice)
      checks.push(ok("server", `RAT ${version} at ${url}`))
      const ready = yield* request((signal) => client.health.ready({ signal }))
      for (const [name, check] of Object.entries(ready.checks)) {
        checks.push(
          check.status === "ok"
            ? ok(`server: ${name}`, "reachable")
            : failed(
                `server: ${name}`,
                check.error ?? "not reachable",
                "See the server's log; it goes on by itself when this heals.",
              ),
        )
      }
    }
    if (choice.json) yield* output.data(jsonText({ checks }))
    else {
      const width = Math.max(...checks.map((check) => check.name.length))
      for (const check of checks) {
        const status = paintStatus(output.dataStyle, check.status)
        yield* output.data(
          `${status}${" ".repeat(8 - check.status.length)}${check.name.padEnd(width)}  ${check.detail}`,
        )
        if (check.advice !== undefined) yield* output.data(`${" ".repeat(width + 10)}→ ${check.advice}`)
      }
    }
    const bad = checks.filter((check) => check.status === "failed")
    if (bad.length > 0) {
      return yield* new CliFailure({
        message: `${bad.length === 1 ? "One check" : `${bad.length} checks`} failed: ${bad.map((check) => check.name).join(", ")}.`,
        next: bad[0]!.advice,
        exitCode: ExitCode.failed,
      })
    }
  }),
).pipe(
  Command.withDescription(
    "Check what RAT needs on this machine: Node, data folder, disk, port, Postgres, object store, server",
  ),
  Command.withShortDescription("Check what RAT needs on this machine"),
  Command.withExamples([{ command: "rat doctor", description: "Before a first start, or when something is wrong" }]),
)
