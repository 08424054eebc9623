import { Effect } from "effect"
import { testNode } from "../support/TestNode.ts"
const store = process.argv[2] === "s3" ? "s3" : "file"
await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
  const node = yield* testNode({ store, environment: {} })
  console.log(node.url)
  yield* Effect.never
})))
