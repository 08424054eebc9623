import { defaultApiUrl } from "@rat/client"
import { Effect } from "effect"
import { Command } from "effect/cli"
import { dataFlag, type LocalNode, listenFlag, logFormatFlag, logLevelFlag, startLocalNode } from "../node/LocalNode.ts"
import { Output } from "../output/Output.ts"
import { durationText } from "../output/Quantity.ts"
import { untilSignal } from "../process/Signals.ts"

/** `--url …` for the commands that a person is told to type, when the server is not where they look by themselves. */
export const urlHint = (url: string): string => (url === defaultApiUrl ? "" : ` --url ${url}`)

/** Where the server is and how to stop it. */
export const printPlace = Effect.fnUntraced(function* (node: LocalNode) {
  const output = yield* Output
  yield* output.data(`  listens at   ${output.dataStyle.bold(node.url)}   (API: ${node.url}/api/docs)`)
  yield* output.data(`  data folder  ${node.dataFolder}`)
  yield* output.data("  stop         Ctrl-C")
})

/** Keeps the server until somebody asks it to stop. */
export const serveUntilStopped = Effect.gen(function* () {
  const output = yield* Output
  yield* untilSignal
  yield* output.note("Stopping… (Ctrl-C again forces)")
})

export const up = Command.make(
  "up",
  { data: dataFlag, listen: listenFlag, logFormat: logFormatFlag, logLevel: logLevelFlag },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const started = performance.now()
    yield* output.note("Starting RAT…")
    yield* Effect.scoped(
      Effect.gen(function* () {
        const node = yield* startLocalNode(choice)
        yield* output.data(`RAT is up (${durationText(performance.now() - started)}).`)
        yield* printPlace(node)
        yield* output.data(`  next         rat init my-project; rat demo; rat status${urlHint(node.url)}`)
        yield* serveUntilStopped
      }),
    )
    yield* output.note("Stopped. `rat up` with the same folder finds everything as it was.")
  }),
).pipe(
  Command.withDescription(
    "Start the whole platform in this process: API, runner, query engine and, without DATABASE_URL, its own Postgres. Ctrl-C stops it cleanly; a second Ctrl-C at once.",
  ),
  Command.withShortDescription("Start the whole platform"),
  Command.withExamples([
    { command: "rat up", description: "Keep everything in ./.rat and listen on 127.0.0.1:8080" },
    { command: "rat up --data /srv/rat --listen 127.0.0.1:9000", description: "Another folder and port" },
  ]),
)
