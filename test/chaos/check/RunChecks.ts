import type { Database } from "../Database.ts"
import type { Ledger } from "../Ledger.ts"
import { pipelineOf } from "../Workload.ts"

export interface RunRecord {
  readonly id: string
  /** `namespace.name` */
  readonly pipeline: string
  readonly status: string
  readonly idempotency_key: string | null
  readonly error: string | null
  readonly error_code: string | null
  readonly attempt: number
  /** Attempts that failed, as opposed to those whose node was lost. */
  readonly failures: number
}

export const readRuns = async (database: Database): Promise<ReadonlyArray<RunRecord>> =>
  (
    await database.rows<RunRecord>(`
      select
        r.id, r.namespace || '.' || r.pipeline as pipeline, r.status, r.idempotency_key, r.error, r.error_code, r.attempt,
        (select count(*)::integer from run_attempt a where a.run_id = r.id and a.outcome = 'failed') as failures
      from run r
      where r.kind = 'pipeline'
      order by r.id`)
  ).map((run) => ({ ...run, attempt: Number(run.attempt), failures: Number(run.failures) }))

const wireOf: Readonly<Record<string, string>> = { succeeded: "success", failed: "failed", cancelled: "cancelled" }

/** Failures that a pipeline without retries may see when a slot is killed or a leftover of another attempt is in its way. */
const excused = new Set(["slot.died", "commit.conflict", "branch.missing", "machine.memory"])

const few = 5

/** Compares what clients were told, and how each run was meant to end, with how it ended. */
export const checkRuns = (ledger: Ledger, runs: ReadonlyArray<RunRecord>): ReadonlyArray<string> => {
  const complaints: Array<string> = []
  const byId = new Map(runs.map((run) => [run.id, run]))

  for (const [key, { run: id, pipeline }] of ledger.accepted) {
    const run = byId.get(id)
    if (run === undefined) complaints.push(`run ${id} was accepted and is not there`)
    else if (run.idempotency_key !== key || run.pipeline !== pipeline) {
      complaints.push(
        `run ${id} has key ${run.idempotency_key} and pipeline ${run.pipeline} instead of ${key}, ${pipeline}`,
      )
    }
  }
  const known = new Set([...ledger.accepted.keys(), ...ledger.unsure])
  for (const { id, idempotency_key } of runs) {
    if (idempotency_key === null || !known.has(idempotency_key)) complaints.push(`run ${id} was asked for by nobody`)
  }
  for (const [id, status] of ledger.ends) {
    const stored = byId.get(id)?.status ?? "not there"
    if (wireOf[stored] !== status) complaints.push(`run ${id} was seen as ${status} and is ${stored}`)
  }
  for (const id of ledger.cancelled) {
    const stored = byId.get(id)?.status ?? "not there"
    if (stored !== "cancelled") complaints.push(`run ${id} was cancelled and is ${stored}`)
  }

  const wrong = new Map<string, Array<string>>()
  const blame = (what: string, run: RunRecord) =>
    wrong.set(what, [
      ...(wrong.get(what) ?? []),
      `${run.id} of ${run.pipeline} (attempt ${run.attempt}, ${run.error_code}: ${run.error})`,
    ])
  for (const run of runs) {
    const pipeline = pipelineOf.get(run.pipeline)
    if (pipeline === undefined) continue
    const meant = pipeline.failureOf(run.id)
    if (run.status === "succeeded" && meant !== undefined) blame("runs succeeded that were meant to fail", run)
    if (run.status === "cancelled" && !ledger.unwanted.has(run.id)) blame("runs were cancelled by nobody", run)
    if (run.status !== "failed") continue
    const isOwnFault = meant !== undefined && run.error?.includes(meant) === true
    if (isOwnFault && run.failures !== 1 && pipeline.isPatient === false) blame("runs failed more than once", run)
    if (!isOwnFault && (pipeline.isPatient || !excused.has(run.error_code ?? ""))) {
      blame("runs failed for no fault of their own", run)
    }
  }
  for (const [what, found] of wrong) complaints.push(`${found.length}: ${what}: ${found.slice(0, few).join("; ")}`)
  return complaints
}
