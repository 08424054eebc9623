import { Effect } from "effect"
import { Argument, Command, Completions } from "effect/cli"
import { Output } from "../output/Output.ts"

/** `root` is asked for when the command runs: it contains this command. */
export const completion = (root: () => Command.Command.Any) =>
  Command.make(
    "completion",
    {
      shell: Argument.Literals("shell", ["bash", "zsh", "fish", "powershell"]).pipe(
        Argument.withDescription("Which shell"),
      ),
    },
    Effect.fn(function* ({ shell }) {
      const output = yield* Output
      yield* output.data(Completions.generate("rat", shell, Completions.fromCommand(root())))
    }),
  ).pipe(
    Command.withDescription("Print a completion script for a shell"),
    Command.withExamples([
      { command: "source <(rat completion bash)", description: "In ~/.bashrc" },
      { command: "rat completion fish > ~/.config/fish/completions/rat.fish", description: "For fish" },
    ]),
  )
