// Installs what is missing, then runs a script with the project's own Node:
//   node scripts/setup.mjs [SCRIPT [ARGS…]]
// Plain JavaScript without dependencies: it runs on the Node that a newcomer has (20 or newer), before anything is
// installed. Quiet when there is nothing to do; everything it says goes to stderr.
import { spawn, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const isWindows = process.platform === "win32"
const ownNode = join(root, "node_modules", ".bin", isWindows ? "node.cmd" : "node")
// Inside node_modules: an installation that is started over or broken off takes it away.
const stamp = join(root, "node_modules", ".rat-installed")
const lock = join(root, ".install.lock")

const fail = (message) => {
  process.stderr.write(`rat: ${message}\n`)
  process.exit(1)
}

const isNewer = (path, than) => statSync(path).mtimeMs > statSync(than).mtimeMs

const isInstalled = () => existsSync(ownNode) && existsSync(stamp) && !isNewer(join(root, "package-lock.json"), stamp)

/** Whether an installation that did not come from here (`npm install`) is what the lockfile asks for. */
const isComplete = () => {
  try {
    const wanted = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages
    // npm writes this file at the end of every installation.
    const present = JSON.parse(readFileSync(join(root, "node_modules", ".package-lock.json"), "utf8")).packages
    return (
      existsSync(ownNode) &&
      Object.entries(wanted).every(
        ([path, entry]) =>
          !path.startsWith("node_modules/") ||
          (present[path] === undefined ? entry.optional === true : present[path].version === entry.version),
      )
    )
  } catch {
    return false
  }
}

const writeStamp = () => {
  try {
    writeFileSync(stamp, `${new Date().toISOString()}\n`)
  } catch {
    // Another user installed and this one may not write: it is checked again next time, which takes 50 ms.
  }
}

/** Whether the process that made the lock still lives. A lock without a pid is being written right now. */
const isHeld = () => {
  try {
    const pid = Number(readFileSync(join(lock, "pid"), "utf8"))
    process.kill(pid, 0)
    return true
  } catch (error) {
    if (error.code === "ESRCH") return false
    if (error.code === "EPERM") return true
    // Older than ten seconds without a pid: its maker died between the two steps.
    return existsSync(lock) && Date.now() - statSync(lock).mtimeMs < 10_000
  }
}

/** Waits until this process may install. Making a folder is atomic, so one of many first starts gets it. */
const takeLock = async () => {
  let hasSaid = false
  while (true) {
    try {
      mkdirSync(lock)
      writeFileSync(join(lock, "pid"), String(process.pid))
      return
    } catch (error) {
      if (error.code !== "EEXIST") fail(`cannot write to ${root} (${error.code}). Installing needs a writable folder.`)
    }
    if (!isHeld()) {
      rmSync(lock, { recursive: true, force: true })
      continue
    }
    if (!hasSaid) process.stderr.write("Waiting for another installation to end…\n")
    hasSaid = true
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

const install = () => {
  process.stderr.write("Installing RAT's parts with npm (once; a minute or two)…\n")
  // stdout belongs to the command's data: what npm says goes to stderr.
  const npm = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: root,
    stdio: ["ignore", 2, 2],
    shell: isWindows,
  })
  if (npm.error?.code === "ENOENT") fail("npm was not found. It comes with Node.js: https://nodejs.org")
  if (npm.error) fail(`npm could not be started: ${npm.error.message}`)
  if (npm.status !== 0) fail("npm could not install the parts; its message is above. Mend that and start again.")
  if (!existsSync(ownNode)) {
    fail(
      "npm did not install Node 24 (are install scripts turned off? `npm config get ignore-scripts` must say false).",
    )
  }
  writeStamp()
}

if (Number(process.versions.node.split(".")[0]) < 20) {
  fail(`this is Node ${process.versions.node}; RAT needs Node 20 or newer to install itself: https://nodejs.org`)
}

if (!isInstalled()) {
  if (!existsSync(lock) && isComplete()) writeStamp()
  else {
    await takeLock()
    const release = () => rmSync(lock, { recursive: true, force: true })
    process.on("exit", release)
    // Another process may have installed while this one waited.
    if (!isInstalled()) {
      if (isComplete()) writeStamp()
      else install()
    }
    release()
    process.off("exit", release)
  }
}

const [script, ...args] = process.argv.slice(2)
if (script !== undefined) {
  const binFolder = join(root, "node_modules", ".bin")
  const child = spawn(ownNode, [script, ...args], {
    stdio: "inherit",
    shell: isWindows,
    env: { ...process.env, PATH: `${binFolder}${isWindows ? ";" : ":"}${process.env.PATH ?? ""}` },
  })
  // The terminal sends Ctrl-C to the child too; others send signals to this process only.
  process.on("SIGINT", () => undefined)
  process.on("SIGTERM", () => child.kill("SIGTERM"))
  child.on("error", (error) => fail(`${ownNode} could not be started: ${error.message}`))
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code ?? 1)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
}
