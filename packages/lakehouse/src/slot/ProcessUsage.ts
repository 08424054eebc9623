import { readdirSync, readFileSync } from "node:fs"
import { lstat, readdir } from "node:fs/promises"
import { join } from "node:path"

/**
 * What processes use, as `/proc` of Linux tells it; elsewhere nothing is known and the functions answer null. Synchronous:
 * the kernel answers from memory in some 20 µs, and a thread pool would cost more.
 */

/** Clock ticks a second in `/proc`: USER_HZ, 100 on every architecture that Node runs on. */
const ticksPerSecond = 100

const read = (path: string): string | null => {
  try {
    return readFileSync(path, "latin1")
  } catch {
    return null // it has ended, or there is no /proc
  }
}

/** Fields of `/proc/PID/stat` from the third on: the second may hold anything, parentheses included. */
const statOf = (pid: number): ReadonlyArray<string> | null => {
  const stat = read(`/proc/${pid}/stat`)
  return stat === null ? null : stat.slice(stat.lastIndexOf(")") + 2).split(" ")
}

/**
 * Bytes of memory that are the process's own: neither code nor files that the kernel can read again. That is what makes a
 * machine run out of memory.
 */
export const ownMemory = (pid: number): number | null => {
  const status = read(`/proc/${pid}/status`)
  if (status === null) return null
  const anonymous = /^RssAnon:\s+(\d+) kB/m.exec(status)?.[1]
  const shared = /^RssShmem:\s+(\d+) kB/m.exec(status)?.[1]
  return anonymous === undefined ? null : (Number(anonymous) + Number(shared ?? 0)) * 1024
}

/** Processor time of all threads since the process began, in milliseconds. */
export const cpuTime = (pid: number): number | null => {
  const fields = statOf(pid)
  return fields === null ? null : ((Number(fields[11]) + Number(fields[12])) * 1_000) / ticksPerSecond
}

/** When the process began, in ticks since the machine did: with the id it names one process for good. */
export const startOf = (pid: number): string | null => {
  const fields = statOf(pid)
  return fields === null || fields[0] === "Z" ? null : (fields[19] ?? null)
}

/** The only child of a process, as a launcher has one; null when it has none (yet). */
export const childOf = (pid: number): number | null => {
  const children = read(`/proc/${pid}/task/${pid}/children`)
  if (children !== null) return children.trim() === "" ? null : Number.parseInt(children, 10)
  // Kernels without CONFIG_PROC_CHILDREN.
  try {
    const child = readdirSync("/proc").find((name) => /^\d+$/.test(name) && statOf(Number(name))?.[1] === String(pid))
    return child === undefined ? null : Number(child)
  } catch {
    return null
  }
}

/** Processes that the kernel has killed since its start because memory ran out. */
export const outOfMemoryKills = (): number => Number(/^oom_kill (\d+)/m.exec(read("/proc/vmstat") ?? "")?.[1] ?? 0)

/**
 * Bytes of disk below a folder that are there for it alone: a file with a second name (a hard link) belongs to whom the
 * other name belongs. Counts blocks, so a sparse file is as large as it is on the disk.
 */
export const diskUse = async (folder: string): Promise<number> => {
  let bytes = 0
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  for (const entry of entries) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) {
      bytes += await diskUse(path)
      continue
    }
    const stats = await lstat(path).catch(() => null) // gone meanwhile
    if (stats !== null && stats.nlink === 1) bytes += stats.blocks * 512
  }
  return bytes
}
