import { createHash, randomUUID } from "node:crypto"
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs"
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

/** In a cluster's reachable place: the folder that links to it. */
const originFile = "of"

/**
 * A place that an unprivileged user can reach, for something that lives at `path` below a closed folder such as /root.
 * The same path always gives the same place. What is temporary stays temporary.
 */
export const reachablePlace = (path: string): string => {
  const id = createHash("sha256").update(resolve(path)).digest("hex").slice(0, 16)
  const isTemporary = resolve(path).startsWith(`${resolve(tmpdir())}/`)
  return isTemporary ? join(tmpdir(), `rat-${id}`) : `/var/lib/rat/${id}`
}

/**
 * Makes a place of its own for the cluster of `folder`, and removes temporary ones that no folder's link leads to any
 * more: their folders were deleted. (Others stay: their disk may just not be mounted.)
 */
export const makeReachablePlace = (folder: string): string => {
  const place = `${reachablePlace(folder)}-${randomUUID().slice(0, 8)}`
  mkdirSync(place, { recursive: true, mode: 0o711 })
  writeFileSync(join(place, originFile), resolve(folder))
  for (const name of readdirSync(tmpdir())) {
    const other = join(tmpdir(), name)
    const origin = join(other, originFile)
    if (!/^rat-[0-9a-f]{16}-[0-9a-f]{8}$/.test(name) || !existsSync(origin)) continue
    const isOld = Date.now() - statSync(origin).mtimeMs > 60_000
    if (isOld && statSync(other).uid === 0 && linkOf(readFileSync(origin, "utf8")) !== join(other, "cluster")) {
      rmSync(other, { recursive: true, force: true })
    }
  }
  return place
}

const linkOf = (folder: string) => {
  try {
    return readlinkSync(join(folder, "cluster"))
  } catch {
    return undefined
  }
}
