import { spawnSync } from "node:child_process"
import { existsSync, linkSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { hostname } from "node:os"
import { setTimeout as delay } from "node:timers/promises"
import { DataFolderInUse } from "./DataFolderErrors.ts"

/** Who holds the folder, as `rat.lock` says. */
export interface LockHolder {
  readonly pid: number
  readonly host: string
  /** Tells the process from another one that got its number later. */
  readonly process: string
  /** ISO 8601. */
  readonly since: string
  readonly listening: string | null
}

/** When and on which boot a process started; empty for one that is not there. */
const identityOf = (pid: number): string => {
  if (existsSync("/proc/self/stat")) {
    try {
      // The command name may hold spaces and parentheses: fields are counted after its last one. Field 22 is the start.
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
      const start = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]
      return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}/${start}`
    } catch {
      return ""
    }
  }
  return spawnSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" }).stdout?.trim() ?? ""
}

/** The holder touches its lock this often, for machines that cannot see its process. */
export const heartbeatMs = 10_000
const silentMs = 3 * heartbeatMs

const isHeld = (path: string, holder: LockHolder): boolean => {
  if (holder.host === hostname()) {
    const identity = identityOf(holder.pid)
    return identity !== "" && identity === holder.process
  }
  return Date.now() - statSync(path).mtimeMs < silentMs
}

const parse = (text: string): LockHolder | undefined => {
  try {
    const holder = JSON.parse(text) as LockHolder
    return typeof holder.pid === "number" ? holder : undefined
  } catch {
    return undefined
  }
}

const readIfThere = (path: string): string | undefined => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return undefined
  }
}

export interface FolderLock {
  /** Writes into the lock where this server can be reached. */
  readonly announce: (listening: string) => void
  readonly touch: () => void
  readonly release: () => void
}

/**
 * Takes `path` for this process or rejects with `DataFolderInUse`. The lock appears with its content in one step (hard
 * link). One whose holder is gone is moved aside and looked at again before it counts as ours, because another starter
 * may have done the same in between.
 */
export const takeFolderLock = async (folder: string, path: string): Promise<FolderLock> => {
  let mine: LockHolder = {
    pid: process.pid,
    host: hostname(),
    process: identityOf(process.pid),
    since: new Date().toISOString(),
    listening: null,
  }
  const text = () => `${JSON.stringify(mine)}\n`
  const draft = `${path}.${process.pid}`
  const inUse = (holder: LockHolder) =>
    new DataFolderInUse({
      folder,
      pid: holder.pid,
      host: holder.host === hostname() ? null : holder.host,
      since: holder.since,
      listening: holder.listening,
    })

  const tryLink = () => {
    writeFileSync(draft, text(), { mode: 0o644 })
    try {
      linkSync(draft, path)
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false
      throw error
    } finally {
      rmSync(draft, { force: true })
    }
  }

  for (let attempt = 0; !tryLink(); attempt++) {
    const found = readIfThere(path)
    if (found === undefined) continue
    const holder = parse(found)
    if (holder !== undefined && isHeld(path, holder)) throw inUse(holder)
    if (attempt > 20) throw new Error(`${path} can neither be taken nor removed`)
    const aside = `${path}.stale.${process.pid}`
    try {
      renameSync(path, aside)
    } catch {
      continue
    }
    if (readIfThere(aside) !== found) {
      // Not the stale one: somebody took it over a moment ago. Give it back.
      try {
        linkSync(aside, path)
      } catch {
        // A third starter holds it now; the next round tells.
      }
    }
    rmSync(aside, { force: true })
    await delay(50)
  }
  if (readIfThere(path) !== text()) {
    const holder = parse(readIfThere(path) ?? "")
    if (holder !== undefined) throw inUse(holder)
  }

  return {
    announce: (listening) => {
      mine = { ...mine, listening }
      writeFileSync(draft, text(), { mode: 0o644 })
      renameSync(draft, path)
    },
    touch: () => {
      const now = new Date()
      utimesSync(path, now, now)
    },
    release: () => {
      if (readIfThere(path) === text()) rmSync(path, { force: true })
    },
  }
}
