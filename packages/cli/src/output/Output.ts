import { writeSync } from "node:fs"
import { Context, Effect, Layer } from "effect"
import { Flag, GlobalFlag } from "effect/cli"
import { colourful, colourless, type Style } from "./Style.ts"

export const QuietFlag = GlobalFlag.Setting("quiet")({
  flag: Flag.Boolean("quiet").pipe(
    Flag.withAlias("q"),
    Flag.withoutNegation,
    Flag.withDefault(false),
    Flag.withDescription("Print results and errors only"),
  ),
})

export const NoColorFlag = GlobalFlag.Setting("no-color")({
  flag: Flag.Boolean("no-color").pipe(
    Flag.withoutNegation,
    Flag.withDefault(false),
    Flag.withDescription("No colours (NO_COLOR does the same)"),
  ),
})

/** Where a command's words go: results to stdout, everything else to stderr. */
export class Output extends Context.Service<
  Output,
  {
    /** A result, ended with a newline. */
    readonly data: (text: string) => Effect.Effect<void>
    /** Bytes of a result, as they come. */
    readonly bytes: (chunk: Uint8Array) => Effect.Effect<void>
    /** How it goes. Silent with --quiet. */
    readonly note: (text: string) => Effect.Effect<void>
    /** Something is wrong, yet the command goes on or already failed. Never silent. */
    readonly alert: (text: string) => Effect.Effect<void>
    /** Colours for `data`. */
    readonly dataStyle: Style
    /** Colours for `note` and `alert`. */
    readonly noteStyle: Style
    /** Columns of the terminal that `data` goes to; null when it goes to a file or a pipe. */
    readonly dataColumns: number | null
  }
>()("rat/cli/Output") {
  static readonly layer = (options: { readonly isQuiet: boolean; readonly noColor: boolean }): Layer.Layer<Output> => {
    const wantsColour = !options.noColor && (process.env.NO_COLOR ?? "") === "" && process.env.TERM !== "dumb"
    const styleOf = (stream: NodeJS.WriteStream) => (wantsColour && stream.isTTY === true ? colourful : colourless)
    return Layer.succeed(Output, {
      data: (text) => write(process.stdout, `${text}\n`),
      bytes: (chunk) => write(process.stdout, chunk),
      note: (text) => (options.isQuiet ? Effect.void : write(process.stderr, `${text}\n`)),
      alert: (text) => write(process.stderr, `${text}\n`),
      dataStyle: styleOf(process.stdout),
      noteStyle: styleOf(process.stderr),
      dataColumns: process.stdout.isTTY === true ? process.stdout.columns : null,
    })
  }

  /** As the global flags say. */
  static readonly layerFromFlags = Layer.unwrap(
    Effect.gen(function* () {
      return Output.layer({ isQuiet: yield* QuietFlag, noColor: yield* NoColorFlag })
    }),
  )
}

/** Waits for slow readers: a large result never piles up in memory. */
const write = (stream: NodeJS.WriteStream, chunk: string | Uint8Array): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    stream.write(chunk, () => resume(Effect.void))
  })

/** For the last words of a process that may not live long enough for streams. */
export const writeLastWords = (text: string): void => {
  try {
    writeSync(2, `${text}\n`)
  } catch {
    // Nobody is left to read it.
  }
}
