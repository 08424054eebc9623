import { Role } from "@rat/domain"
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { dataFlag, listenFlag, logFormatFlag, logLevelFlag, startLocalNode } from "../node/LocalNode.ts"
import { Output } from "../output/Output.ts"
import { durationText } from "../output/Quantity.ts"
import { printPlace, serveUntilStopped } from "./Up.ts"

const allRoles = Role.literals.join(",")

export const serve = Command.make(
  "serve",
  {
    roles: Flag.String("roles").pipe(
      Flag.withMetavar("ROLES"),
      Flag.optional,
      Flag.withDescription(`What this node does, of ${allRoles}, separated by commas (RAT_ROLES; default: all)`),
    ),
    data: dataFlag,
    listen: listenFlag,
    logFormat: logFormatFlag,
    logLevel: logLevelFlag,
  },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const started = performance.now()
    const roles = Option.getOrElse(choice.roles, () => process.env.RAT_ROLES || allRoles)
    yield* output.note(`Starting a node with ${roles}…`)
    yield* Effect.scoped(
      Effect.gen(function* () {
        const node = yield* startLocalNode({ ...choice, roles })
        yield* output.data(`The node is up (${durationText(performance.now() - started)}): ${roles}.`)
        yield* printPlace(node)
        yield* serveUntilStopped
      }),
    )
    yield* output.note("Stopped. Other nodes go on with what this one had in hand.")
  }),
).pipe(
  Command.withDescription(
    "Start a node of a cluster. Nodes share a database (DATABASE_URL) and objects (S3, or a folder in RAT_STORE), find each other there, and may come and go at any time. Ctrl-C or SIGTERM ends what is in hand or leaves it to others.",
  ),
  Command.withShortDescription("Start a node of a cluster"),
  Command.withExamples([
    { command: "rat serve", description: "A node with all roles" },
    { command: "rat serve --roles runner --data /srv/rat", description: "A node that executes runs" },
  ]),
)
