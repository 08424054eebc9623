import { checkedStatements, DuckDb, serveSlot } from "@rat/lakehouse/slot"

serveSlot(async (limits) => {
  const db = await DuckDb.open(limits)
  return {
    interrupt: () => db.interrupt(),
    reset: () => db.reset(),
    ops: {
      run: async (sql: string) => {
        const s = await db.begin(["default"])
        const st = checkedStatements(sql, "query")[0]!
        const c = await s.prepare(st, "query")
        const r = await c.prepared.runAndReadAll()
        return r.getRowsJson()
      },
      echo: async (x: unknown) => x,
      stream: async (n: number, ctx) => {
        for (let i = 0; i < n; i++) await ctx.emit(i)
      },
      crash: async () => {
        process.kill(process.pid, "SIGSEGV")
        await new Promise(() => {})
      },
    },
  }
})
