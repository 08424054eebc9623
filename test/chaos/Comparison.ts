import type { RunRecord } from "./Ledger.ts"

/** Compares what clients were told and what tables hold with the runs in the database. Answers with complaints. */

const wireOf: Readonly<Record<string, string>> = { succeeded: "success", failed: "failed", cancelled: "cancelled" }

/** `accepted`: run ids by idempotency key, as answered with 202. `ends`: terminal statuses that clients saw. */
export const compareAnswers = (
  accepted: ReadonlyMap<string, string>,
  ends: ReadonlyMap<string, string>,
  runs: ReadonlyArray<RunRecord>,
) => {
  const complaints: Array<string> = []
  const byId = new Map(runs.map((run) => [run.id, run]))
  for (const [key, id] of accepted) {
    const run = byId.get(id)
    if (run === undefined) complaints.push(`run ${id} was accepted and is not there`)
    else if (run.idempotency_key !== key) {
      complaints.push(`run ${id} has the key ${run.idempotency_key} instead of ${key}`)
    }
  }
  for (const [id, status] of ends) {
    const stored = byId.get(id)?.status ?? "not there"
    if (wireOf[stored] !== status) complaints.push(`run ${id} was seen as ${status} and is ${stored}`)
  }
  return complaints
}

/** `expected`: the runs whose rows the table should hold; `there`: number of rows by run. */
export const compareRows = (
  table: string,
  expected: ReadonlyArray<RunRecord>,
  there: ReadonlyMap<string, number>,
): ReadonlyArray<string> => {
  const wanted = new Set(expected.map(({ id }) => id))
  return [
    ...expected.flatMap(({ id, rows_written }) =>
      there.get(id) === Number(rows_written)
        ? []
        : [`table ${table} has ${there.get(id) ?? 0} rows of run ${id}, which wrote ${rows_written}`],
    ),
    ...Array.from(there).flatMap(([id, count]) =>
      wanted.has(id) ? [] : [`table ${table} has ${count} rows of run ${id}, which should not be there`],
    ),
  ]
}
