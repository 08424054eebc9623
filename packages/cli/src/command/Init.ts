import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { createInterface } from "node:readline/promises"
import { defaultNamespace, namePattern } from "@rat/domain"
import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { projectTemplate } from "../init/ProjectTemplate.ts"
import { jsonText, outputFlags } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"

/** Asks on stderr, so that stdout stays for results. Enter takes the default; interrupting ends the command. */
const ask = (question: string, fallback: string): Effect.Effect<string> =>
  Effect.promise(async (signal) => {
    const terminal = createInterface({ input: process.stdin, output: process.stderr })
    try {
      const answer = await terminal.question(`${question} [${fallback}] `, { signal })
      return answer.trim() === "" ? fallback : answer.trim()
    } finally {
      terminal.close()
    }
  })

const checkName = (what: string, name: string): Effect.Effect<string, CliFailure> =>
  namePattern.test(name)
    ? Effect.succeed(name)
    : Effect.fail(
        new CliFailure({
          message: `"${name}" cannot be the ${what}.`,
          next: "Use lower-case letters, digits, '_' and '-', and start with a letter: my-project.",
          exitCode: ExitCode.usage,
        }),
      )

export const init = Command.make(
  "init",
  {
    name: Argument.String("name").pipe(
      Argument.optional,
      Argument.withDescription("Name of the project; the folder of that name is made here"),
    ),
    namespace: Flag.String("namespace").pipe(
      Flag.withAlias("n"),
      Flag.withMetavar("NAME"),
      Flag.optional,
      Flag.withDescription("Namespace that it goes to (default default)"),
    ),
    yes: Flag.Boolean("yes").pipe(
      Flag.withAlias("y"),
      Flag.withoutNegation,
      Flag.withDefault(false),
      Flag.withDescription("Ask nothing: take the defaults"),
    ),
    json: outputFlags.json,
  },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const mayAsk = process.stdin.isTTY === true && !choice.yes
    let name = Option.getOrUndefined(choice.name)
    if (name === undefined) {
      if (!mayAsk) {
        return yield* new CliFailure({
          message: "The project needs a name.",
          next: "Write `rat init NAME`.",
          exitCode: ExitCode.usage,
        })
      }
      name = yield* ask("Name of the project?", "my-project")
    }
    yield* checkName("name of a project", name)
    const namespace = Option.isSome(choice.namespace)
      ? choice.namespace.value
      : mayAsk
        ? yield* ask("Namespace that it goes to?", defaultNamespace)
        : defaultNamespace
    yield* checkName("name of a namespace", namespace)

    const folder = resolve(name)
    if (existsSync(folder) && readdirSync(folder).length > 0) {
      return yield* new CliFailure({
        message: `${folder} exists and is not empty. Nothing was written.`,
        next: "Choose another name.",
        exitCode: ExitCode.refused,
      })
    }
    const files = projectTemplate(name, namespace)
    for (const file of files) {
      const path = join(folder, file.path)
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, file.content)
    }
    if (choice.json) return yield* output.data(jsonText({ folder, files: files.map((file) => file.path) }))
    yield* output.data(`Made ${folder}`)
    for (const file of files) yield* output.note(`  ${file.path}`)
    yield* output.note(
      `Next: cd ${name}, then \`rat dev\`: it starts a server and runs everything again on every save.`,
    )
  }),
).pipe(
  Command.withDescription("Make a new project that works: three pipelines, a quality test, a README"),
  Command.withExamples([{ command: "rat init my-project", description: "Make the folder my-project" }]),
)
