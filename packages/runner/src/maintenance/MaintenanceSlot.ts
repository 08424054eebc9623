import { DuckDb, type DuckDbSession, serveSlot, sqlError } from "@rat/lakehouse/slot"

/** Name of the database that statements run in; there is nothing in it. */
const home = "maintenance"

/** The process that rewrites tables: our own statements only, over files that were linked into its folder. */
serveSlot(async (limits) => {
  const engine = await DuckDb.open(limits)
  let session: DuckDbSession | null = null
  return {
    ops: {
      sql: async ({ sql }: { readonly sql: string }) => {
        session ??= await engine.begin([home])
        try {
          return (await session.connection.runAndReadAll(sql)).getRowObjectsJS()
        } catch (error) {
          throw sqlError(error, limits)
        }
      },
    },
    interrupt: () => engine.interrupt(),
    reset: () => {
      session = null
      return engine.reset()
    },
  }
})
