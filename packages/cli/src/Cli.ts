import { NodeServices } from "@effect/platform-node"
import { Cause, Effect, Exit, Layer } from "effect"
import { Argument, CliConfig, CliError, CliOutput, Command, Flag, GlobalFlag } from "effect/cli"
import { branch } from "./command/Branch.ts"
import { cancel } from "./command/Cancel.ts"
import { completion } from "./command/Completion.ts"
import { demo } from "./command/Demo.ts"
import { dev } from "./command/Dev.ts"
import { diff } from "./command/Diff.ts"
import { doctor } from "./command/Doctor.ts"
import { events } from "./command/Events.ts"
import { init } from "./command/Init.ts"
import { logs } from "./command/Logs.ts"
import { maintain } from "./command/Maintain.ts"
import { maintenance } from "./command/Maintenance.ts"
import { namespaces } from "./command/Namespaces.ts"
import { nodes } from "./command/Nodes.ts"
import { push } from "./command/Push.ts"
import { query } from "./command/Query.ts"
import { queue } from "./command/Queue.ts"
import { restore } from "./command/Restore.ts"
import { run } from "./command/Run.ts"
import { runs } from "./command/Runs.ts"
import { serve } from "./command/Serve.ts"
import { status } from "./command/Status.ts"
import { tables } from "./command/Tables.ts"
import { tag } from "./command/Tag.ts"
import { up } from "./command/Up.ts"
import { upload } from "./command/Upload.ts"
import { version } from "./command/Version.ts"
import { CliFailure } from "./failure/CliFailure.ts"
import { ExitCode } from "./failure/ExitCode.ts"
import { NoColorFlag, Output, QuietFlag } from "./output/Output.ts"
import { handleSignals } from "./process/Signals.ts"
import { ratVersion } from "./Version.ts"

/** Listed for who looks for it; `main.ts` turns `rat help X` into `rat X --help` before anything is parsed. */
const help = Command.make(
  "help",
  { command: Argument.String("command").pipe(Argument.variadic()) },
  () => Effect.void,
).pipe(Command.withDescription("Explain a command: rat help run"))

let root: Command.Command.Any

const rat = Command.make("rat").pipe(
  Command.withDescription(
    "A self-hosted lakehouse: SQL pipelines on branches, tested there, published as Apache Iceberg tables.",
  ),
  Command.withSubcommands([
    { group: "Start", commands: [up, serve, demo, dev, init] },
    { group: "Work", commands: [push, run, query, upload] },
    {
      group: "Look",
      commands: [
        status,
        nodes,
        queue,
        namespaces,
        runs,
        logs,
        events,
        cancel,
        tables,
        branch,
        tag,
        diff,
        restore,
        maintain,
        maintenance,
      ],
    },
    { group: "Help", commands: [doctor, completion(() => root), version, help] },
  ]),
  Command.provide(() => Output.layerFromFlags),
  Command.withGlobalFlags([QuietFlag, NoColorFlag]),
)
root = rat

const VersionFlag = GlobalFlag.Action({
  flag: Flag.Boolean("version").pipe(
    Flag.withAlias("V"),
    Flag.withoutNegation,
    Flag.withDefault(false),
    Flag.withDescription("Print the version"),
  ),
  run: () => Effect.sync(() => process.stdout.write(`${ratVersion}\n`)),
})

/** Help that was asked for is a result; what is wrong with a command line is a message. */
const presenter = (formatter: CliOutput.Formatter): CliOutput.Presenter => ({
  present: (event) =>
    Effect.sync(() => {
      if (event._tag === "Help") process.stdout.write(`${formatter.formatHelpDoc(event.helpDoc).trim()}\n`)
      else if (event._tag === "InvalidInvocation") {
        for (const error of event.errors) process.stderr.write(`rat: ${formatter.formatCliError(error)}\n`)
        process.stderr.write(`See \`${event.commandPath.join(" ")} --help\`.\n`)
      }
    }),
})

const hasColour = () => process.stdout.isTTY === true && (process.env.NO_COLOR ?? "") === ""

const environment = Layer.mergeAll(
  NodeServices.layer,
  CliConfig.layer({ builtIns: [GlobalFlag.Help, VersionFlag] }),
  CliOutput.layerPresenter(presenter(CliOutput.defaultFormatter({ colors: hasColour(), globalFlags: "summary" }))),
)

/** Says on stderr why the command failed and what to do; the code for the shell. */
const explain = (cause: Cause.Cause<unknown>): number => {
  if (Cause.hasInterruptsOnly(cause)) return ExitCode.interrupted
  const error = Cause.squash(cause)
  if (CliError.isCliError(error)) {
    // The presenter has printed it.
    return error._tag === "ShowHelp" && error.errors.length === 0 ? ExitCode.done : ExitCode.usage
  }
  const isRed = process.stderr.isTTY === true && (process.env.NO_COLOR ?? "") === ""
  const prefix = isRed ? "\u001b[31mrat:\u001b[39m" : "rat:"
  if (error instanceof CliFailure) {
    process.stderr.write(`${prefix} ${error.message}\n`)
    if (error.next !== undefined) process.stderr.write(`${error.next}\n`)
    return error.exitCode
  }
  // A defect: the person can do nothing about it but tell us.
  const message = error instanceof Error ? error.message : String(error)
  process.stderr.write(`${prefix} internal error: ${message}\n`)
  if (process.env.RAT_DEBUG === "1") process.stderr.write(`${Cause.pretty(cause)}\n`)
  else process.stderr.write("This is a defect of RAT. RAT_DEBUG=1 shows where it happened; please report it.\n")
  return ExitCode.failed
}

/** Runs one command line; resolves with the exit code once everything that it started has stopped. */
export const runCli = async (args: ReadonlyArray<string>): Promise<number> => {
  const controller = new AbortController()
  handleSignals(() => controller.abort())
  const program = Command.runWith(rat, { version: ratVersion })(args).pipe(Effect.provide(environment))
  const exit = await Effect.runPromiseExit(program, { signal: controller.signal })
  return Exit.isSuccess(exit) ? ExitCode.done : explain(exit.cause)
}
