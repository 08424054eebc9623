import { Effect } from "effect"
import { ExitCode } from "../failure/ExitCode.ts"
import { writeLastWords } from "../output/Output.ts"

let waiting: ((signal: NodeJS.Signals) => void) | undefined

/** Resolves with the first signal that asks this process to end: how servers wait. */
export const untilSignal: Effect.Effect<NodeJS.Signals> = Effect.callback<NodeJS.Signals>((resume) => {
  waiting = (signal) => resume(Effect.succeed(signal))
  return Effect.sync(() => {
    waiting = undefined
  })
})

/**
 * The first Ctrl-C (or SIGTERM, or a closed terminal) goes to who waits in `untilSignal`, or calls `interrupt`. The
 * second one ends the process at once, whatever it is doing.
 */
export const handleSignals = (interrupt: () => void): void => {
  let count = 0
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      count++
      if (count > 1) {
        writeLastWords("Forced. What was still open is put in order at the next start.")
        process.exit(ExitCode.interrupted)
      }
      if (waiting === undefined) interrupt()
      else waiting(signal)
    })
  }
}
