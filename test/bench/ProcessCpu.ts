import { readdirSync, readFileSync } from "node:fs"
import { processTree } from "../support/RatProcess.ts"

/** CPU time in milliseconds by kind of process, since each of them began. */
export interface CpuTimes {
  /** The process that was asked for. */
  readonly node: number
  /** Other Node processes below it: slots. */
  readonly slots: number
  readonly postgres: number
  /** All below it. */
  readonly total: number
}

/** Length of the kernel's clock tick for /proc, ms (USER_HZ is 100 on every Linux there is). */
const tickMs = 10

/** A process's own time and that of its children which have ended, in ms, and its command. Zero when it has ended. */
const timesOf = (pid: number): { readonly ms: number; readonly endedMs: number; readonly name: string } => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"))
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    // utime, stime, cutime, cstime: fields 14 to 17 of proc(5), the first after the name being number 3.
    const ms = (...places: ReadonlyArray<number>) =>
      places.reduce((sum, place) => sum + Number(fields[place]), 0) * tickMs
    return { ms: ms(11, 12), endedMs: ms(13, 14), name }
  } catch {
    return { ms: 0, endedMs: 0, name: "" }
  }
}

/** Precise time of a process's living threads, in ms; its ended threads are not in it. */
const threadTimeMs = (pid: number): number => {
  try {
    return readdirSync(`/proc/${pid}/task`).reduce((sum, task) => {
      const [nanoseconds] = readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")
      return sum + Number(nanoseconds) / 1e6
    }, 0)
  } catch {
    return 0
  }
}

/** CPU time of a process and everything below it. Differences of two readings are what counts. */
export const cpuTimes = (pid: number): CpuTimes => {
  const times = { node: 0, slots: 0, postgres: 0 }
  for (const member of processTree(pid)) {
    const { ms, endedMs, name } = timesOf(member)
    const own = Math.max(ms, threadTimeMs(member))
    if (member === pid) {
      times.node += own
      // The server's postmaster lives as long as the node: what has ended are slots that were replaced.
      times.slots += endedMs
    } else if (name.startsWith("postgres")) times.postgres += own + endedMs
    else times.slots += own + endedMs
  }
  return { ...times, total: times.node + times.slots + times.postgres }
}

/** What was used between two readings. */
export const cpuBetween = (before: CpuTimes, after: CpuTimes): CpuTimes => ({
  node: after.node - before.node,
  slots: after.slots - before.slots,
  postgres: after.postgres - before.postgres,
  total: after.total - before.total,
})
