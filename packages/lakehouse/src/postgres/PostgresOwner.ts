import { createHash } from "node:crypto"
import { existsSync, readFileSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"

/** Who the server's processes run as. Undefined: as ourselves. */
export interface PostgresOwner {
  readonly uid: number
  readonly gid: number
}

/**
 * Postgres refuses to run as root and its initdb wants a user that the machine knows: `nobody`, or the user that
 * already owns the cluster. Not root: ourselves.
 */
export const postgresOwner = (cluster: string): PostgresOwner | undefined => {
  if (process.getuid?.() !== 0) return undefined
  if (existsSync(cluster)) {
    const { uid, gid } = statSync(cluster)
    if (uid !== 0) return { uid, gid }
  }
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((entry) => entry.startsWith("nobody:"))
  const [, , uid, gid] = (line ?? "").split(":")
  return { uid: Number(uid ?? 65534), gid: Number(gid ?? 65534) }
}

/** Whether `owner` may pass through every folder above `path` (mode bits only: access lists are rare and widen). */
export const isReachable = (path: string, owner: PostgresOwner): boolean => {
  for (let folder = dirname(resolve(path)); ; folder = dirname(folder)) {
    const { mode, uid, gid } = statSync(folder)
    const shift = uid === owner.uid ? 6 : gid === owner.gid ? 3 : 0
    if (((mode >> shift) & 1) === 0) return false
    if (folder === dirname(folder)) return true
  }
}

/**
 * A place that an unprivileged user can reach, for something that lives at `path` below a closed folder such as /root.
 * The same path always gives the same place. What is temporary stays temporary.
 */
export const reachablePlace = (path: string): string => {
  const id = createHash("sha256").update(resolve(path)).digest("hex").slice(0, 16)
  const isTemporary = resolve(path).startsWith(`${resolve(tmpdir())}/`)
  return isTemporary ? join(tmpdir(), `rat-${id}`) : `/var/lib/rat/${id}`
}
