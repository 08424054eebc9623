import { createHash } from "node:crypto"
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  utimesSync,
} from "node:fs"
import { rm } from "node:fs/promises"
import { hostname } from "node:os"
import { join } from "node:path"
import { startOf } from "./ProcessUsage.ts"

/**
 * Folders of slots: `<folder>/<pool>.<pid>-<start>-<machine>/<number>`. The name says which process of which machine owns
 * them, so whoever finds them can tell whether it is still alive, and two processes may share a folder.
 */

/** An owner on another machine cannot be looked at; it touches its folder this often. */
export const sweepMs = 60_000
/** Untouched for this long, it is dead. */
const silentMs = 10 * sweepMs

const read = (get: () => string): string => {
  try {
    return get()
  } catch {
    return ""
  }
}

/** Processes see each other by their ids only within one machine that was not restarted, and one container of it. */
const machine = createHash("sha256")
  .update(
    [
      read(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8")),
      read(() => readlinkSync("/proc/self/ns/pid")),
      hostname(),
    ].join("\n"),
  )
  .digest("hex")
  .slice(0, 8)

const isRunning = (pid: number, start: string): boolean => {
  const now = startOf(pid)
  if (now !== null) return now === start
  if (process.platform === "linux") return false
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

const isAbandoned = (path: string, pid: number, start: string, where: string): boolean => {
  if (where === machine) return !isRunning(pid, start)
  try {
    return Date.now() - statSync(path).mtimeMs > silentMs
  } catch {
    return false // somebody else has just removed it
  }
}

/** Makes the folder of a pool of this process, empty. Others may pass through it, not look. */
export const makePoolFolder = (folder: string, pool: string): string => {
  const path = join(folder, `${pool}.${process.pid}-${startOf(process.pid) ?? 0}-${machine}`)
  mkdirSync(path, { recursive: true, mode: 0o711 })
  for (const entry of readdirSync(path)) rmSync(join(path, entry), { recursive: true, force: true })
  if (process.getuid?.() === 0) for (const each of [folder, path]) chmodSync(each, 0o711)
  return path
}

/** Removes what pools of processes left behind that are no more, and tells others that this pool's is not such a one. */
export const sweepPoolFolders = async (folder: string, own: string): Promise<ReadonlyArray<string>> => {
  const now = new Date()
  try {
    utimesSync(own, now, now)
  } catch {} // removed from outside: its slots fail, and say so
  const removed: Array<string> = []
  for (const name of readdirSync(folder)) {
    const owner = /\.(\d+)-(\d+)-([0-9a-f]{8})$/.exec(name)
    const path = join(folder, name)
    if (owner === null || path === own || !isAbandoned(path, Number(owner[1]), owner[2]!, owner[3]!)) continue
    // Its slots may be ending just now and write on.
    const isGone = await rm(path, { recursive: true, force: true, maxRetries: 3 }).then(
      () => true,
      () => false,
    )
    if (isGone) removed.push(name)
  }
  return removed
}

/** Makes a slot's own folders: `in/`, what it may read; `out/` and `spill/`, where it writes; and those that stay in them. */
export const slotFolders = (folder: string, standing: ReadonlyArray<string> = []): void => {
  for (const name of ["in", "out", "spill"]) mkdirSync(join(folder, name), { recursive: true, mode: 0o700 })
  for (const name of standing) mkdirSync(join(folder, name), { recursive: true, mode: 0o755 })
}

/** Gives the slot's user what it writes to, and lets it, and nobody else but root, look into `in/`. */
export const ownSlotFolder = (folder: string, user: number, standing: ReadonlyArray<string> = []): void => {
  chmodSync(folder, 0o711)
  const inFolder = join(folder, "in")
  chownSync(inFolder, 0, user)
  chmodSync(inFolder, 0o750)
  const written = standing.filter((name) => !name.startsWith("in/"))
  for (const name of ["out", "spill", ...written]) chownSync(join(folder, name), user, user)
}
