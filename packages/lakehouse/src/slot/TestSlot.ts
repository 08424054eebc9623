import { readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { SlotError, serveSlot } from "./SlotServer.ts"

/** A slot that does everything a good or bad one may do, without an engine. Test support only. */
serveSlot(async (limits) => {
  let interrupted = 0
  let isSpoilt = false
  const kept: Array<Buffer> = []
  return {
    ops: {
      echo: async (value: never) => value,
      environment: async () => process.env,
      arguments: async () => process.execArgv,
      fail: async () => {
        throw new SlotError("test.failed", "It failed.", { why: "test" })
      },
      defect: async () => {
        throw new Error("a defect")
      },
      count: async (to: never, context) => {
        let sent = 0
        for (let number = 1; number <= to; number++) {
          await context.emit(number)
          sent++
          writeFileSync(join(limits.folder, "out", "sent"), String(sent))
        }
      },
      sleep: async (milliseconds: never, context) => {
        await setTimeout(milliseconds, undefined, { signal: context.signal })
      },
      interrupts: async () => interrupted,
      hang: () => new Promise(() => {}),
      block: async () => {
        for (;;); // not even the event loop turns
      },
      leave: async (where: never) => writeFileSync(join(limits.folder, where), "left behind"),
      // What a person would do who got out of the engine.
      evaluate: async (code: never) => await new Function(`return (async () => { ${code} })()`)(),
      files: async () => ["in", "out", "spill"].flatMap((name) => readdirSync(join(limits.folder, name))),
      spoil: async () => {
        isSpoilt = true
      },
      exit: async () => process.exit(7),
      abort: async () => process.abort(),
      keep: async (megabytes: never) => {
        kept.push(Buffer.alloc(megabytes * 2 ** 20, 1))
      },
      allocate: async (megabytes: never) => {
        kept.push(...Array.from({ length: megabytes / 10 }, () => Buffer.alloc(10 * 2 ** 20, 1)))
        await setTimeout(60_000)
      },
      spin: async (_: never, context) => {
        while (!context.signal.aborted) {
          for (let round = 0; round < 1e6; round++);
          await setTimeout(0)
        }
      },
      write: async (megabytes: never) => {
        const piece = Buffer.alloc(2 ** 20, 1)
        for (let written = 0; written < megabytes; written++) {
          writeFileSync(join(limits.folder, "spill", "offender"), piece, { flag: "a" })
          await setTimeout(5)
        }
      },
      exhaust: async () => {
        const hoard: Array<ReadonlyArray<number>> = []
        for (;;) hoard.push(new Array(1_000_000).fill(Math.random()))
      },
    },
    interrupt: () => {
      interrupted++
    },
    reset: async () => {
      if (isSpoilt) throw new Error("cannot forget")
    },
  }
})
