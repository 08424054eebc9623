import { readFileSync } from "node:fs"
import { processTree } from "../support/RatProcess.ts"

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

/** Every process that was ever seen below a server. */
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
    slots: (root: number) => look(root).filter(({ command }) => /(?:Runner|Query)Slot\.ts/.test(command)),
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
