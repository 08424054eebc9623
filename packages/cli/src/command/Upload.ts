import { openAsBlob, statSync } from "node:fs"
import { basename } from "node:path"
import { ConflictError, NotFoundError, type RatClient } from "@rat/client"
import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { CliFailure, failureOf } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { connect, request, urlFlag } from "../option/Connection.ts"
import { namespaceFlag, namespaceOf } from "../option/NamespaceOption.ts"
import { timeoutFlag } from "../option/Timeout.ts"
import { jsonText, outputFlags } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { bytesText } from "../output/Quantity.ts"

/** Makes the landing zone, and its namespace, unless they are there. True when the zone was made. */
export const ensureZone = (client: RatClient, namespace: string, zone: string): Effect.Effect<boolean, CliFailure> =>
  Effect.tryPromise({
    try: async (signal) => {
      try {
        await client.landing.get(namespace, zone, { signal })
        return false
      } catch (error) {
        if (!(error instanceof NotFoundError)) throw error
      }
      // Somebody else may make it in between: that is what was wanted.
      const unlessThere = (making: Promise<unknown>) =>
        making.then(
          () => true,
          (error) => {
            if (error instanceof ConflictError) return false
            throw error
          },
        )
      try {
        return await unlessThere(client.landing.create({ namespace, name: zone }, { signal }))
      } catch (error) {
        if (!(error instanceof NotFoundError)) throw error
      }
      await unlessThere(client.namespaces.create(namespace, undefined, { signal }))
      return unlessThere(client.landing.create({ namespace, name: zone }, { signal }))
    },
    catch: failureOf,
  })

/** Sends one file as it is read from the disk. */
export const uploadFile = Effect.fnUntraced(function* (
  client: RatClient,
  namespace: string,
  zone: string,
  path: string,
  timeoutMs: number,
) {
  const blob = yield* Effect.tryPromise({
    try: () => openAsBlob(path),
    catch: () =>
      new CliFailure({ message: `${path} cannot be read.`, next: "Check the path.", exitCode: ExitCode.notFound }),
  })
  return yield* request((signal) => client.landing.upload(namespace, zone, basename(path), blob, { signal, timeoutMs }))
})

/** An upload's answer comes behind its last byte: large files need more patience than other calls. */
const defaultTimeoutMs = 15 * 60_000

export const upload = Command.make(
  "upload",
  {
    files: Argument.String("file").pipe(Argument.withDescription("Files to send"), Argument.variadic({ min: 1 })),
    zone: Flag.String("zone").pipe(
      Flag.withAlias("z"),
      Flag.withMetavar("NAME"),
      Flag.withDescription("Landing zone; made when it is missing"),
    ),
    json: outputFlags.json,
    namespace: namespaceFlag,
    url: urlFlag,
    timeout: timeoutFlag("Longest time for one file (default 15m)"),
  },
  Effect.fn(function* (choice) {
    const output = yield* Output
    for (const path of choice.files) {
      if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) {
        return yield* new CliFailure({
          message: `${path} is not a file.`,
          next: "Nothing was sent. Check the path.",
          exitCode: ExitCode.notFound,
        })
      }
    }
    const namespace = yield* namespaceOf(choice.namespace)
    const client = yield* connect({ url: choice.url, timeout: Option.none() })
    const timeoutMs = Option.getOrElse(choice.timeout, () => defaultTimeoutMs)
    if (yield* ensureZone(client, namespace, choice.zone)) {
      yield* output.note(`Made landing zone ${namespace}/${choice.zone}.`)
    }
    const files = yield* Effect.forEach(choice.files, (path) =>
      Effect.tap(uploadFile(client, namespace, choice.zone, path, timeoutMs), (file) =>
        choice.json ? Effect.void : output.data(`${file.id}  ${file.filename}  ${bytesText(file.size_bytes)}`),
      ),
    )
    if (choice.json) yield* output.data(jsonText({ files }))
  }),
).pipe(
  Command.withDescription("Send files to a landing zone, where pipelines read them with landing_zone('…')"),
  Command.withShortDescription("Send files to a landing zone"),
  Command.withExamples([{ command: "rat upload --zone orders orders.csv", description: "Send one file" }]),
)
