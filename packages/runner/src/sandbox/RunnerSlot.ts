import { serveSlot } from "@rat/lakehouse/slot"
import { Template } from "../template/Template.ts"
import { PipelineSession } from "./PipelineSession.ts"

/** The process that executes pipelines: one at a time, each in a session of its own. */
serveSlot(async (limits) => {
  const session = await PipelineSession.open(limits, await Template.load())
  return {
    ops: {
      noop: async () => null,
      render: (args: never) => session.render(args),
      maximum: (args: never) => session.maximum(args),
      tree: (sql: never) => session.tree(sql),
      execute: (args: never) => session.execute(args),
      copy: (args: never, context) => session.copy(args, context.emit),
      sql: (args: never) => session.sql(args),
      quality: (args: never, context) => session.quality(args, context.signal),
      check: (args: never) => session.check(args),
    },
    interrupt: () => session.interrupt(),
    reset: () => session.reset(),
  }
})
