import { isTerminal, LogEntry, type RunId, type RunStatus, type RunUpdate, toWireStatus } from "@rat/domain"
import { Effect, Queue, Stream } from "effect"
import { RunHub, type RunNews } from "./RunHub.ts"
import { RunRepository } from "./RunRepository.ts"

/** Log lines read at once when a follower catches up. */
const pageLines = 1000

/**
 * A run as it happens: stored lines behind `afterSeq`, then live ones, and the status at the start and when it changes;
 * ends behind a terminal status. Nothing is missed between the stored and the live part: the live one is listened to
 * first, and what is seen twice is dropped by its number. A gap in the numbers is filled from the rows.
 */
export const followRun = (runId: RunId, afterSeq: number) =>
  Stream.unwrap(
    Effect.gen(function* () {
      const runs = yield* RunRepository
      const hub = yield* RunHub
      const news = yield* hub.follow(runId)

      let lastSeq = afterSeq
      let lastStatus: RunStatus | undefined

      const storedLines = Effect.gen(function* () {
        const updates: Array<RunUpdate> = []
        for (;;) {
          const entries = yield* runs.logs(runId, { afterSeq: lastSeq, limit: pageLines })
          for (const entry of entries) updates.push({ _tag: "Log", entry })
          lastSeq = entries.at(-1)?.seq ?? lastSeq
          if (entries.length < pageLines) return updates
        }
      })

      const statusUpdate = (status: RunStatus): ReadonlyArray<RunUpdate> => {
        if (status === lastStatus) return []
        lastStatus = status
        return [{ _tag: "Status", status: toWireStatus(status) }]
      }

      /** Status first: when it is terminal, the lines read after it are all there are. */
      const reread = Effect.gen(function* () {
        const status = yield* runs.status(runId)
        const lines = yield* storedLines
        return [...lines, ...statusUpdate(status)]
      })

      const heard = (item: RunNews) => {
        switch (item._tag) {
          case "Reread":
            return reread
          case "Status":
            return isTerminal(item.status) ? reread : Effect.succeed(statusUpdate(item.status))
          case "Log": {
            const entries = item.entries.filter((entry) => entry.seq > lastSeq)
            if (entries.length === 0) return Effect.succeed([])
            const isDense = entries.every((entry, index) => entry.seq === lastSeq + 1 + index)
            if (!isDense) return reread
            lastSeq += entries.length
            return Effect.succeed(entries.map((entry): RunUpdate => ({ _tag: "Log", entry: new LogEntry(entry) })))
          }
        }
      }

      const live = Stream.fromEffectRepeat(Effect.flatMap(Queue.take(news), heard))
      return Stream.concat(Stream.fromEffect(reread), live).pipe(
        // Taking ends behind the batch that brought the terminal status.
        Stream.takeUntil(() => lastStatus !== undefined && isTerminal(lastStatus)),
        Stream.filter((updates) => updates.length > 0),
        Stream.flatMap((updates) => Stream.fromIterable(updates)),
      )
    }),
  )
