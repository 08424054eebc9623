import { DuckDb, serveSlot } from "@rat/lakehouse/slot"
import { runQuery } from "./QueryRun.ts"

/** The process that answers queries: one at a time, each in a session of its own. */
serveSlot(async (limits) => {
  const engine = await DuckDb.open(limits)
  return {
    ops: {
      query: (order: never, context) => runQuery(engine, limits, order, context),
      tree: (sql: never) => engine.syntaxTree(sql),
    },
    interrupt: () => engine.interrupt(),
    reset: () => engine.reset(),
  }
})
