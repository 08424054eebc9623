import { appendFileSync } from "node:fs"
import { join } from "node:path"

/**
 * What clients were promised and what they saw, kept apart from the system that promised it. Every entry is also a line of
 * a file, for those who look for the cause of a failure.
 */
export interface Ledger {
  /** By idempotency key. A run that was acknowledged may never be lost. */
  readonly accepted: ReadonlyMap<string, Accepted>
  /** Keys whose request got no answer: there may be a run, or none. */
  readonly unsure: ReadonlySet<string>
  /** Runs whose cancellation was acknowledged. */
  readonly cancelled: ReadonlySet<string>
  /** Runs that somebody tried to cancel. */
  readonly unwanted: ReadonlySet<string>
  /** Terminal statuses by run, in the words of the API. */
  readonly ends: ReadonlyMap<string, string>
  /** Uploads by the name that is in them. */
  readonly uploads: ReadonlyMap<string, Upload>
  /** How long each acceptance took from the first try, in milliseconds. */
  readonly waits: ReadonlyArray<number>
  readonly complaints: ReadonlyArray<string>
  /** Answers by kind: `202`, `429`, `503`, `none`. */
  readonly answers: ReadonlyMap<string, number>
}

export interface Accepted {
  readonly run: string
  readonly pipeline: string
  /** Names of the uploads that were acknowledged before this run was asked for. */
  readonly uploads: ReadonlyArray<string>
}

export interface Upload {
  readonly zone: string
  readonly amount: number
  readonly isAcknowledged: boolean
}

const few = 20

export const openLedger = (logs: string) => {
  const file = join(logs, "ledger.jsonl")
  const accepted = new Map<string, Accepted>()
  const unsure = new Set<string>()
  const asked = new Map<string, number>()
  const waits: Array<number> = []
  const cancelled = new Set<string>()
  const unwanted = new Set<string>()
  const ends = new Map<string, string>()
  const uploads = new Map<string, Upload>()
  const answers = new Map<string, number>()
  const complaints: Array<string> = []
  const write = (entry: object) =>
    appendFileSync(file, `${JSON.stringify({ at: new Date().toISOString(), ...entry })}\n`)

  const complain = (complaint: string) => {
    write({ complaint })
    if (complaints.length < few) complaints.push(complaint)
  }
  const ledger: Ledger = { accepted, unsure, cancelled, unwanted, ends, uploads, waits, complaints, answers }
  return {
    ...ledger,
    complain,
    write,
    asked: (key: string) => {
      if (accepted.has(key) || unsure.has(key)) return
      unsure.add(key)
      asked.set(key, performance.now())
    },
    accept: (key: string, entry: Accepted, node: string) => {
      const before = accepted.get(key)
      if (before !== undefined && before.run !== entry.run) {
        complain(`key ${key} made the runs ${before.run} and ${entry.run}`)
        return
      }
      unsure.delete(key)
      if (before === undefined) {
        accepted.set(key, entry)
        waits.push(Math.round(performance.now() - (asked.get(key) ?? performance.now())))
        write({ accepted: entry.run, key, pipeline: entry.pipeline, node })
      }
    },
    want: (run: string) => void unwanted.add(run),
    cancel: (run: string) => {
      cancelled.add(run)
      write({ cancelled: run })
    },
    see: (run: string, status: string) => {
      if (status === "pending" || status === "running") return
      const before = ends.get(run)
      if (before !== undefined && before !== status) complain(`run ${run} was seen as ${before} and then as ${status}`)
      ends.set(run, status)
    },
    upload: (name: string, entry: Upload) => {
      uploads.set(name, entry)
      write({ upload: name, ...entry })
    },
    answer: (kind: string) => void answers.set(kind, (answers.get(kind) ?? 0) + 1),
  }
}

export type LedgerWriter = ReturnType<typeof openLedger>
