import { Effect } from "effect"
import { Command } from "effect/cli"
import { jsonText, outputFlags } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { ratVersion } from "../Version.ts"

export const version = Command.make(
  "version",
  { json: outputFlags.json },
  Effect.fn(function* ({ json }) {
    const output = yield* Output
    yield* output.data(json ? jsonText({ rat: ratVersion, node: process.versions.node }) : ratVersion)
  }),
).pipe(Command.withDescription("Print the version"))
