import { spawn } from "node:child_process"
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { constants, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { confinement } from "./SlotConfinement.ts"
import { ownSlotFolder, slotFolders } from "./SlotFolders.ts"
import { codeFolders, type Launch, mountScript, systemFolders } from "./SlotView.ts"

/**
 * What stands between a slot process and the machine, behind the engine's own lockdown:
 *
 * - `namespaces`: no network but an unconfigured loopback, no other processes, and a file system that consists of Node, our code
 *   (read-only), the slot's `in/` (read-only), `out/` and `spill/`. Through `unshare`; needs root with CAP_SYS_ADMIN or
 *   user namespaces, which most containers have not.
 * - `landlock`, `seccomp`: nearly the same by giving up rights, in containers too (SlotConfinement). Seccomp also keeps a
 *   slot from starting processes.
 * - `user`: an unprivileged user id of its own, where the node runs as root.
 * - `privileges`: no_new_privs, no capabilities, and the kernel kills the slot when its node dies.
 * - `limits`: rlimits for memory, processes and core files, where `prlimit` is there.
 *
 * Each part is tried once for each node process, by starting Node behind it in a real slot folder.
 */
export type WallPart = "namespaces" | "landlock" | "seccomp" | "user" | "privileges" | "limits"

export type WallMode = "auto" | "off" | "require"

export interface Wall {
  /** Parts that stand. */
  readonly parts: ReadonlyArray<WallPart>
  /** Why others do not, for the log. */
  readonly missing: ReadonlyArray<string>
}

export const noWall: Wall = { parts: [], missing: [] }

/** Whether a wall keeps slots from the network and from files of others. */
export const isClosed = ({ parts }: Wall): boolean =>
  parts.includes("namespaces") || (parts.includes("landlock") && parts.includes("seccomp"))

/** The next weaker wall, for one behind which slots do not start. Null: there is none. */
export const weaker = (wall: Wall): Wall | null => {
  const next = (["namespaces", "user", "landlock", "seccomp", "limits", "privileges"] as const).find((part) =>
    wall.parts.includes(part),
  )
  return next === undefined
    ? null
    : {
        parts: wall.parts.filter((part) => part !== next),
        missing: [...wall.missing, `${next}: slots did not start behind it`],
      }
}

/** User ids of slots: from the range that systemd reserves for users that exist only while a service runs. */
const firstUser = 61_184
const users = 4_096

/** The user id of a slot when its node runs as root: each folder has its own, as far as they go. */
export const userOf = (folder: string): number => {
  let hash = 0
  for (const character of folder) hash = (hash * 31 + character.charCodeAt(0)) >>> 0
  return firstUser + (hash % users)
}

const isRoot = process.getuid?.() === 0

/** Threads of Node itself, and room for what it starts now and then. */
const ownThreads = 64

/** Command and arguments that start Node behind the wall. */
export const launchCommand = ({ parts }: Wall, launch: Launch): readonly [string, ...Array<string>] => {
  const has = (part: WallPart) => parts.includes(part)
  const command: Array<string> = []
  if (has("privileges")) command.push("setpriv", "--pdeathsig", "KILL", "--")
  if (has("namespaces")) {
    command.push("unshare", ...(isRoot ? [] : ["--user", "--map-root-user"]))
    command.push("--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--propagation", "private")
    command.push("--", "sh", "-c", mountScript(launch), "sh")
  }
  if (has("limits")) {
    command.push("prlimit", "--core=0")
    if (launch.dataBytes !== undefined) command.push(`--data=${launch.dataBytes}`)
    // The kernel counts per user, so only where the slot has one for itself: its own, or that of its user namespace.
    if (has("user") || (has("namespaces") && !isRoot)) command.push(`--nproc=${ownThreads + 2 * launch.threads}`)
    command.push("--")
  }
  if (has("privileges")) {
    command.push("setpriv", "--no-new-privs", "--inh-caps=-all")
    if (has("user")) {
      const user = String(userOf(launch.folder))
      command.push("--reuid", user, "--regid", user, "--clear-groups")
    }
    if (isRoot || has("namespaces")) command.push("--bounding-set=-all")
    // Again: the kernel forgets it when the user changes.
    command.push("--pdeathsig", "KILL", "--")
  }
  const confined = (["landlock", "seccomp"] as const).filter(has)
  if (confined.length > 0) {
    const readable = [...systemFolders, ...codeFolders(launch.entry), join(launch.folder, "in"), "/dev/urandom"]
    // Of the engine: it aborts when it cannot open its group's memory file. With namespaces there are no other processes.
    readable.push(has("namespaces") ? "/proc" : "/proc/self", "/sys/fs/cgroup", "/proc/meminfo", "/proc/cpuinfo")
    command.push("perl", "-e", confinement, process.arch, confined.join(","))
    command.push(...readable.map((path) => `r:${path}`))
    command.push(...["out", "spill"].map((name) => `w:${join(launch.folder, name)}`), "w:/dev/null", "--")
  }
  command.push(process.execPath, ...launch.execArgv, launch.entry)
  return command as [string, ...Array<string>]
}

/** Where the command does not become the slot but starts it, as its child's child, and waits for it. */
export const hasLauncher = ({ parts }: Wall): boolean => parts.includes("namespaces")

/** Exit code of a shell whose command died of a signal: this, and the signal's number. */
const diedOfSignal = 128

/** How a slot ended, from how its launcher did. */
export const endBehind = (
  wall: Wall,
  code: number | null,
  signal: NodeJS.Signals | null,
): { readonly code: number | null; readonly signal: NodeJS.Signals | null } => {
  const number = (code ?? 0) - diedOfSignal
  if (!hasLauncher(wall) || number <= 0) return { code, signal }
  const name = (Object.keys(constants.signals) as Array<NodeJS.Signals>).find(
    (each) => constants.signals[each] === number,
  )
  return name === undefined ? { code, signal } : { code: null, signal: name }
}

const trialMs = 10_000

/** What a slot needs: to read its code and its inputs, to write its outputs. Prints so that we know that it was there. */
const trialText = `
const { readFileSync, writeFileSync, existsSync } = require("node:fs")
const [folder, entry] = process.argv.slice(2)
readFileSync(entry)
readFileSync(folder + "/in/trial")
writeFileSync(folder + "/out/trial", "")
writeFileSync(folder + "/spill/trial", "")
if (existsSync("/proc/self/cgroup")) readFileSync("/proc/self/cgroup")
console.log("through")
`

const trial = (wall: Wall, launch: Launch): Promise<string | null> =>
  new Promise((resolve) => {
    const command = launchCommand(wall, launch)
    // Node, its options and the entry end the command; the trial takes their place.
    const [program, ...args] = [
      ...command.slice(0, -1 - launch.execArgv.length),
      "-e",
      trialText,
      "--",
      "trial",
      launch.folder,
      launch.entry,
    ]
    const child = spawn(program as string, args as Array<string>, {
      cwd: launch.folder,
      env: slotEnvironment(launch.folder),
      stdio: ["ignore", "pipe", "pipe"],
    })
    let said = ""
    let complaint = ""
    child.stdout.on("data", (bytes) => (said += bytes))
    child.stderr.on("data", (bytes) => (complaint += bytes))
    const timer = setTimeout(() => child.kill("SIGKILL"), trialMs)
    const end = (how: string) => {
      clearTimeout(timer)
      const line = complaint
        .trim()
        .split("\n")
        .find((text) => /denied|not permitted|Error|invalid|unrecognized|: /.test(text))
      resolve(said.includes("through") ? null : `${line ?? how}`.slice(0, 200))
    }
    child.on("error", (error) => end(error.message))
    child.on("close", (code, signal) => end(signal ?? `exit code ${code}`))
  })

/** What a slot finds in its environment: nothing of the node's, which holds secrets. */
export const slotEnvironment = (folder: string): Record<string, string> => ({
  PATH: process.env.PATH ?? "",
  HOME: folder,
  TMPDIR: join(folder, "spill"),
  TZ: "UTC",
  LANG: "C.UTF-8",
  // Node reads the system's file, where a slot cannot look, and stops when that is refused.
  OPENSSL_CONF: "/dev/null",
})

const tryWall = async (base: string): Promise<Wall> => {
  if (process.platform !== "linux") return { parts: [], missing: [`the platform (${process.platform}) has none`] }
  const top = mkdtempSync(join(base, ".wall-"))
  try {
    const folder = join(top, "slot")
    const root = join(top, "root")
    chmodSync(top, 0o711)
    mkdirSync(root)
    const launch: Launch = {
      folder,
      root,
      entry: fileURLToPath(new URL("./SlotServer.ts", import.meta.url)),
      execArgv: [],
      threads: 1,
    }
    const missing: Array<string> = []
    let parts: ReadonlyArray<WallPart> = []
    const add = async (...more: ReadonlyArray<WallPart>): Promise<boolean> => {
      const wall = { parts: [...parts, ...more], missing: [] }
      slotFolders(folder)
      if (wall.parts.includes("user")) ownSlotFolder(folder, userOf(folder))
      writeFileSync(join(folder, "in", "trial"), "")
      const refused = await trial(wall, launch)
      rmSync(folder, { recursive: true, force: true })
      if (refused === null) parts = wall.parts
      else missing.push(`${more.join(" and ")}: ${refused.replaceAll(top, "…")}`)
      return refused === null
    }
    // Most of it in one step, as it is where all is well; one by one where it is not.
    const all: ReadonlyArray<WallPart> = ["privileges", "limits", "namespaces", ...(isRoot ? (["user"] as const) : [])]
    if (!(await add(...all, "landlock", "seccomp"))) {
      missing.length = 0
      await add("privileges")
      await add("limits")
      if (parts.includes("privileges")) await add("namespaces")
      if (isRoot && parts.includes("privileges")) await add("user")
      if (!(await add("landlock", "seccomp"))) {
        if (!(await add("seccomp"))) await add("landlock")
      }
    }
    return { parts, missing }
  } finally {
    rmSync(top, { recursive: true, force: true })
  }
}

let known: Promise<Wall> | undefined

/** The wall of this machine, found out once for each process of ours. `base`: a folder on the disk of the slots. */
export const findWall = (mode: WallMode, base: string = tmpdir()): Promise<Wall> => {
  if (mode === "off") return Promise.resolve(noWall)
  known ??= tryWall(base)
  return known
}
