import { DuckDb } from "../engine/DuckDb.ts"
import { sqlError } from "../engine/SqlError.ts"
import { serveSlot } from "./SlotServer.ts"

/** A slot that executes any SQL in a locked-down engine. Test support only. */
serveSlot(async (limits) => {
  const engine = await DuckDb.open(limits)
  return {
    ops: {
      sql: async (sql: never) => {
        const session = await engine.begin(["test"])
        try {
          return (await session.connection.runAndReadAll(sql)).getRowsJson()
        } catch (error) {
          throw sqlError(error, limits)
        }
      },
    },
    interrupt: () => engine.interrupt(),
    reset: () => engine.reset(),
  }
})
