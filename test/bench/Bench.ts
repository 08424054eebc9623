/** One number of a bench, in the words of `docs/benchmarks.md`. */
export interface BenchResult {
  readonly name: string
  readonly value: number
  readonly unit: string
  /** What it must reach, and whether more or less is better. Numbers without a bar only inform. */
  readonly bar?: number
  readonly better?: "more" | "less"
}

export interface BenchOptions {
  readonly rounds: number
  /** How large the data is, for benches that have sizes (`--sf`). */
  readonly scale?: number
  /** Whether systems of others are measured beside ours, where a bench has any (`--peers`). */
  readonly peers?: boolean
  /** For people who watch; the JSON line is the only thing on stdout that tools read. */
  readonly say: (line: string) => void
}

export type Bench = (options: BenchOptions) => Promise<ReadonlyArray<BenchResult>>

/** Middle of the values (mean of the two middle ones); benches quote medians because machines are noisy. */
export const median = (values: ReadonlyArray<number>): number => quantile(values, 0.5)

export const quantile = (values: ReadonlyArray<number>, q: number): number => {
  if (values.length === 0) throw new Error("no values to take a quantile of")
  const sorted = [...values].sort((a, b) => a - b)
  const at = (sorted.length - 1) * q
  const low = sorted[Math.floor(at)] as number
  const high = sorted[Math.ceil(at)] as number
  return low + (high - low) * (at - Math.floor(at))
}

export const holds = (result: BenchResult): boolean | undefined =>
  result.bar === undefined
    ? undefined
    : result.better === "more"
      ? result.value >= result.bar
      : result.value <= result.bar

/** Runs `task` for every item, at most `width` at once. */
export const inParallel = async <A>(items: ReadonlyArray<A>, width: number, task: (item: A) => Promise<void>) => {
  const queue = [...items]
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await task(item)
    }),
  )
}
