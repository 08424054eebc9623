import type { Loss } from "./Acts.ts"
import type { Database } from "./Database.ts"

/** Times in milliseconds. */
export interface Times {
  readonly count: number
  readonly p50_ms: number | null
  readonly p99_ms: number | null
  readonly max_ms: number | null
}

const percentile = (sorted: ReadonlyArray<number>, share: number) =>
  sorted.length === 0 ? null : sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!

export const summarise = (times: ReadonlyArray<number>): Times => {
  const sorted = times.toSorted((left, right) => left - right)
  return {
    count: sorted.length,
    p50_ms: percentile(sorted, 0.5),
    p99_ms: percentile(sorted, 0.99),
    max_ms: sorted.at(-1) ?? null,
  }
}

/** Whether a node's id, which is made of host, process and more, is that of a process. */
const isOf = (owner: string, pid: number) => owner.split(/[^0-9]+/).includes(String(pid))

/** From the moment in which a node was lost to the start of the next attempt of each run that it held. */
export const measureRecovery = async (
  database: Database,
  losses: ReadonlyArray<Loss>,
): Promise<Readonly<Record<Loss["how"], Times>>> => {
  const attempts = await database.rows<{
    readonly owner: string
    readonly from_ms: number
    readonly to_ms: number
    readonly next_ms: number
  }>(`
    select a.owner, extract(epoch from a.started_at) * 1000 as from_ms, extract(epoch from a.ended_at) * 1000 as to_ms,
      extract(epoch from b.started_at) * 1000 as next_ms
    from run_attempt a join run_attempt b on b.run_id = a.run_id and b.attempt = a.attempt + 1
    where a.outcome = 'lost'`)
  const times = (how: Loss["how"]) =>
    losses
      .filter((loss) => loss.how === how)
      .flatMap(({ at, pid }) =>
        attempts
          .filter(({ owner, from_ms, to_ms }) => isOf(owner, pid) && Number(from_ms) <= at && Number(to_ms) >= at)
          .map(({ next_ms }) => Math.round(Number(next_ms) - at)),
      )
  return { killed: summarise(times("killed")), paused: summarise(times("paused")) }
}
