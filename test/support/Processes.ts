import { readdirSync, readFileSync, readlinkSync } from "node:fs"
import { processTree } from "./RatProcess.ts"

const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return "" // it has ended
  }
}

/** When the process started, in ticks since boot: with the id it names one process for good. Undefined: it has ended. */
const startOf = (pid: number): string | undefined => {
  const stat = read(`/proc/${pid}/stat`)
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return fields[0] === "Z" ? undefined : fields[19]
}

/** Sends a signal; a process that has ended is no error. */
export const signal = (pid: number, name: NodeJS.Signals) => {
  try {
    process.kill(pid, name)
  } catch {
    // It has ended meanwhile.
  }
}

/** Processes that work in a folder: a Postgres server and its sessions work in their cluster. */
export const processesIn = (folder: string): ReadonlyArray<number> =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return readlinkSync(`/proc/${name}/cwd`) === folder
      } catch {
        return false
      }
    })
    .map(Number)

/** Every process that was ever seen below a node. */
export const makeProcesses = () => {
  const seen = new Map<string, string>()
  const look = (root: number) => {
    const tree = processTree(root).map((pid) => ({ pid, command: read(`/proc/${pid}/cmdline`).replaceAll("\0", " ") }))
    for (const { pid, command } of tree) {
      const start = startOf(pid)
      if (start !== undefined) seen.set(`${pid} ${start}`, command)
    }
    return tree
  }
  return {
    /** Remembers and answers with what is below a process now, itself included. */
    look,
    /** The engines themselves, not the processes that put walls around them. */
    slots: (root: number) => look(root).filter(({ command }) => /^\S*node .*(?:Runner|Query)Slot\.ts *$/.test(command)),
    /** Those that are still alive. */
    left: () => {
      const left: Array<string> = []
      for (const [key, command] of seen) {
        const [pid, start] = key.split(" ")
        if (startOf(Number(pid)) === start) left.push(`${pid} ${command}`)
      }
      return left
    },
  }
}

/** Resident memory of a process tree in bytes, shared pages divided among those who share them where the kernel tells. */
export const memoryOf = (root: number): number => {
  let bytes = 0
  for (const pid of processTree(root)) {
    const pss = /^Pss:\s+(\d+) kB/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1]
    const rss = /^VmRSS:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`))?.[1]
    bytes += Number(pss ?? rss ?? 0) * 1024
  }
  return bytes
}
