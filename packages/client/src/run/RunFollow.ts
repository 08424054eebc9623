import type { LogEntry, WireRunStatus } from "@rat/domain"
import { dataOf, followStream } from "../http/EventStream.ts"
import type { Plain } from "../http/Plain.ts"
import type { Transport } from "../http/Transport.ts"

/** One piece of news about a run. */
export type RunUpdate =
  | { readonly type: "log"; readonly entry: Plain<LogEntry> }
  | { readonly type: "status"; readonly status: WireRunStatus }

export interface FollowOptions {
  readonly signal?: AbortSignal | undefined
  /** Log lines up to this `seq` are left out. */
  readonly afterSeq?: number | undefined
}

const isTerminal = (status: WireRunStatus) => status !== "pending" && status !== "running"

/**
 * A run's log lines and status changes over server-sent events, each once and in order. A lost connection is opened
 * again behind the last line that arrived (`Last-Event-ID`), with growing pauses. Ends after a terminal status.
 */
export async function* followRun(
  transport: Transport,
  runId: string,
  options: FollowOptions = {},
): AsyncGenerator<RunUpdate, void, undefined> {
  let seq = options.afterSeq
  let status: WireRunStatus | undefined
  const open = () => {
    const headers = {
      accept: "text/event-stream",
      "last-event-id": seq === undefined ? undefined : String(seq),
    }
    return transport.send("runs", "logs", { params: { runId }, headers }, { signal: options.signal, maxRetries: 0 })
  }
  for await (const event of followStream(open, options.signal)) {
    if (event.event === "log") {
      const entry = dataOf(event) as Plain<LogEntry>
      // A server that ignores Last-Event-ID repeats what was seen.
      if (seq !== undefined && entry.seq <= seq) continue
      seq = entry.seq
      yield { type: "log", entry }
    } else if (event.event === "status") {
      const next = (dataOf(event) as { status: WireRunStatus }).status
      if (next !== status) yield { type: "status", status: next }
      status = next
      if (isTerminal(next)) return
    }
  }
}
