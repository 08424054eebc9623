import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { type PostgresBinaries, postgresBinaries } from "./PostgresBinaries.ts"
import { explainPostgres } from "./PostgresErrors.ts"
import { isReachable, makeReachablePlace, type PostgresOwner, postgresOwner } from "./PostgresOwner.ts"

/**
 * One Postgres server process and its folder: `cluster/` (PGDATA), `password`, `port`, `server.log`. Plain promises,
 * because tests' global setup uses it outside of Effect; every function rejects with `PostgresUnavailable` or a
 * file-system error, which `explainPostgres` turns into sentences.
 */
export interface PostgresServer {
  readonly pid: number
  readonly port: number
  readonly password: string
  /** Settles when the process is gone, wanted or not. */
  readonly exited: Promise<void>
  /** Fast shutdown: sessions are ended, everything is on disk afterwards. */
  readonly stop: () => Promise<void>
}

export const superuser = "rat"

const clusterOf = (folder: string) => join(folder, "cluster")
const readText = (path: string) => (existsSync(path) ? readFileSync(path, "utf8") : "")
const tailOf = (path: string) => readText(path).slice(-4000)

/** Without this, LANG of the shell could name a locale that the machine lacks, and initdb would refuse it. */
const environment = { PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" }

/**
 * Makes the cluster unless it is there. It grows in `cluster.new` and is renamed at the end, so a killed start leaves
 * nothing half-made. A cluster below a folder closed to its owner lives elsewhere and is linked.
 */
const initialise = (
  folder: string,
  binaries: PostgresBinaries,
  owner: PostgresOwner | undefined,
  isDurable: boolean,
) => {
  const cluster = clusterOf(folder)
  if (existsSync(cluster)) return
  const link = lstatSync(cluster, { throwIfNoEntry: false })
  if (link !== undefined)
    throw explainPostgres(folder, `could not open file "pg_control": ${readlinkSync(cluster)} is gone`)
  let home = folder
  if (owner !== undefined && !isReachable(cluster, owner)) {
    home = makeReachablePlace(folder)
  }
  const fresh = join(home, "cluster.new")
  rmSync(fresh, { recursive: true, force: true })
  mkdirSync(fresh, { mode: 0o700 })
  const passwordFile = join(folder, "password")
  // URL-safe, so that it needs no escaping in a connection URL.
  const password = randomBytes(24).toString("base64url")
  writeFileSync(passwordFile, password, { mode: 0o600 })
  const forInitdb = join(fresh, "..", "initdb.password")
  writeFileSync(forInitdb, password, { mode: 0o600 })
  if (owner !== undefined) {
    chownSync(fresh, owner.uid, owner.gid)
    chownSync(forInitdb, owner.uid, owner.gid)
  }
  const made = spawnSync(
    binaries.initdb,
    [
      ...["-D", fresh, "-U", superuser, "--pwfile", forInitdb, "-A", "scram-sha-256"],
      ...["-E", "UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"],
      ...(isDurable ? [] : ["--no-sync"]),
    ],
    { encoding: "utf8", env: environment, cwd: home, ...owner },
  )
  rmSync(forInitdb, { force: true })
  if (made.status !== 0) {
    rmSync(fresh, { recursive: true, force: true })
    throw explainPostgres(folder, `${made.error?.message ?? ""}\n${made.stderr ?? ""}`)
  }
  renameSync(fresh, join(home, "cluster"))
  if (home !== folder) symlinkSync(join(home, "cluster"), cluster)
}

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

/** A process id may have gone to another program since: a postmaster's working directory is its cluster. */
export const isPostmasterOf = (pid: number, cluster: string) => {
  if (!isAlive(pid)) return false
  if (existsSync("/proc/self/cwd")) {
    try {
      return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(cluster)
    } catch {
      return false
    }
  }
  const listed = spawnSync("ps", ["-o", "args=", "-p", String(pid)], { encoding: "utf8" })
  return listed.stdout.includes(cluster)
}

const until = async (condition: () => boolean, timeoutMs: number): Promise<boolean> => {
  const end = Date.now() + timeoutMs
  while (!condition()) {
    if (Date.now() > end) return false
    await delay(10)
  }
  return true
}

/** Fast shutdown; the harsher kinds, after which the next start recovers from the log, only when that hangs. */
const stopProcess = async (pid: number, isGone: () => boolean) => {
  for (const [signal, waitMs] of [
    ["SIGINT", 30_000],
    ["SIGQUIT", 5_000],
    ["SIGKILL", 5_000],
  ] as const) {
    try {
      process.kill(pid, signal)
    } catch {
      return
    }
    if (await until(isGone, waitMs)) return
  }
}

/** Processes that work in a cluster: sessions of a postmaster that was killed may still be writing when it is gone. */
const workersOf = (cluster: string): ReadonlyArray<number> =>
  existsSync("/proc/self/cwd")
    ? readdirSync("/proc").flatMap((name) => {
        const pid = Number(name)
        return Number.isInteger(pid) && pid !== process.pid && isPostmasterOf(pid, cluster) ? [pid] : []
      })
    : []

/** Stops a server that outlived the process which started it. */
const stopOrphan = async (cluster: string) => {
  const lock = join(cluster, "postmaster.pid")
  const pid = Number.parseInt(readText(lock), 10)
  if (Number.isNaN(pid)) return
  if (isPostmasterOf(pid, cluster)) await stopProcess(pid, () => !isPostmasterOf(pid, cluster))
  // They end by themselves, but not in the middle of a statement. With the lock gone, nobody would keep a new server from writing beside them.
  for (const worker of workersOf(cluster)) {
    try {
      process.kill(worker, "SIGKILL")
    } catch {
      // It has just ended.
    }
  }
  if (!(await until(() => workersOf(cluster).length === 0, 5_000))) return
  // What is left now is stale: Postgres itself would believe a reused process id and refuse to start.
  rmSync(lock, { force: true })
}

const freePort = () =>
  new Promise<number>((resolve, reject) => {
    const probe = createServer()
    probe.once("error", reject)
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => resolve(port))
    })
  })

/**
 * Laptop-sized settings. Statement limits are the pool's, so that maintenance by hand is not cut off.
 * `log` as the lowest level keeps statement errors (ordinary in optimistic code) out of the file.
 */
const settings = (port: number, isDurable: boolean): Readonly<Record<string, string | number>> => ({
  listen_addresses: "127.0.0.1",
  port,
  unix_socket_directories: "",
  max_connections: 200,
  shared_buffers: "128MB",
  max_wal_size: "1GB",
  wal_level: "replica",
  wal_compression: "pglz",
  checkpoint_timeout: "15min",
  // After a kill every file of the cluster is synced before anything else; one by one that took two seconds of a busy disk.
  ...(process.platform === "linux" ? { recovery_init_sync_method: "syncfs" } : {}),
  log_checkpoints: "off",
  log_min_messages: "log",
  log_min_error_statement: "panic",
  timezone: "UTC",
  log_timezone: "UTC",
  ...(isDurable ? {} : { fsync: "off", synchronous_commit: "off", full_page_writes: "off", autovacuum: "off" }),
})

/**
 * Ends the server when this process is gone, however it went: the shell's input is a pipe that only we hold. In a
 * group of its own, like the server, so that Ctrl-C in a terminal leaves the order of stopping to us.
 */
const watch = (pid: number, owner: PostgresOwner | undefined): ChildProcess => {
  const watchdog = spawn("/bin/sh", ["-c", 'cat >/dev/null; kill -INT "$1" 2>/dev/null', "sh", String(pid)], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
    cwd: "/",
    ...owner,
  })
  watchdog.on("error", () => {})
  watchdog.unref()
  ;(watchdog.stdin as { unref?: () => void } | null)?.unref?.()
  return watchdog
}

const maxLogBytes = 10_000_000

/**
 * Starts the server of `folder` and answers when it takes connections. `isDurable: false` is for tests only. Without `port` it
 * takes the one it had, or a free one where that is taken; whoever has told others of the port asks for it.
 */
export const startPostgres = async (options: {
  readonly folder: string
  readonly isDurable: boolean
  readonly port?: number
}): Promise<PostgresServer> => {
  const { folder, isDurable } = options
  const cluster = clusterOf(folder)
  // Others may pass through (the server may run as another user), nobody may list or write.
  mkdirSync(folder, { recursive: true, mode: 0o711 })
  chmodSync(folder, 0o711)
  const owner = postgresOwner(cluster)
  const binaries = postgresBinaries(owner)
  initialise(folder, binaries, owner, isDurable)
  await stopOrphan(cluster)

  const portFile = join(folder, "port")
  const password = readFileSync(join(folder, "password"), "utf8")
  const log = join(folder, "server.log")
  if (existsSync(log) && statSync(log).size > maxLogBytes) renameSync(log, `${log}.1`)

  const attempt = async (port: number): Promise<PostgresServer> => {
    const output = openSync(log, "a")
    const sizeBefore = statSync(log).size
    const flags = Object.entries(settings(port, isDurable)).flatMap(([name, value]) => ["-c", `${name}=${value}`])
    const child = spawn(binaries.postgres, ["-D", realpathSync(cluster), ...flags], {
      detached: true,
      stdio: ["ignore", output, output],
      env: environment,
      cwd: "/",
      ...owner,
    })
    closeSync(output)
    let isGone = false
    let spawnFailure = ""
    const exited = new Promise<void>((resolve) => {
      child.once("exit", () => resolve())
      child.once("error", (error) => {
        spawnFailure = error.message
        resolve()
      })
    }).then(() => {
      isGone = true
    })
    child.unref()
    const pid = child.pid ?? 0
    // Line 8 of the lock file is the postmaster's state, line 1 its process id.
    const isReady = () => {
      const lines = readText(join(cluster, "postmaster.pid")).split("\n")
      return lines[0] === String(pid) && lines[7]?.trim() === "ready"
    }
    const isInTime = await until(() => isGone || isReady(), 120_000)
    if (isGone || !isInTime) {
      if (!isGone) await stopProcess(pid, () => isGone)
      throw explainPostgres(folder, `${spawnFailure}\n${readText(log).slice(sizeBefore) || tailOf(log)}`)
    }
    const watchdog = watch(pid, owner)
    void exited.then(() => watchdog.kill("SIGKILL"))
    return {
      pid,
      port,
      password,
      exited,
      stop: () => stopProcess(pid, () => isGone),
    }
  }

  const remembered = options.port ?? Number.parseInt(readText(portFile), 10)
  const other = options.port ?? 0
  let failure: unknown
  for (const port of [Number.isNaN(remembered) ? await freePort() : remembered, other, other]) {
    try {
      const server = await attempt(port === 0 ? await freePort() : port)
      writeFileSync(portFile, String(server.port))
      return server
    } catch (error) {
      failure = error
      const reason = (error as { reason?: string }).reason ?? ""
      if (/earlier server/.test(reason)) await delay(1000)
      else if (!/port/.test(reason)) throw error
    }
  }
  throw failure
}
