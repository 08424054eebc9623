import { type ChildProcess, execFile, spawn } from "node:child_process"
import { existsSync, readdirSync } from "node:fs"
import { mkdir, rename, rm } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"

/** A real Nessie server for tests; its state is in memory and goes with it. Test support only. */

const run = promisify(execFile)
const version = "0.99.0"
/** That version's classes are of Java 21. */
const minJava = 21
const cache = join(import.meta.dirname, "..", "..", "..", "..", ".cache", "interop", "nessie")
const jar = join(cache, `nessie-quarkus-${version}-runner.jar`)

export type FoundNessie<A> = { readonly found: A } | { readonly reason: string }

const majorOf = async (java: string): Promise<number> => {
  try {
    const { stderr } = await run(java, ["-version"], { timeout: 20_000 })
    return Number(/version "(\d+)/.exec(stderr)?.[1] ?? 0)
  } catch {
    return 0
  }
}

const javaFolders = ["/usr/lib/jvm", "/Library/Java/JavaVirtualMachines"]

/** A Java that is new enough: the one that is set, the first one on the PATH, or one beside it. */
const findJava = async (): Promise<FoundNessie<string>> => {
  const home = process.env.JAVA_HOME
  const beside = javaFolders
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
    .flatMap((folder) => [join(folder, "bin", "java"), join(folder, "Contents", "Home", "bin", "java")])
  const candidates = [...(home === undefined ? [] : [join(home, "bin", "java")]), "java", ...beside]
  for (const java of candidates) {
    if (java !== "java" && !existsSync(java)) continue
    if ((await majorOf(java)) >= minJava) return { found: java }
  }
  return { reason: `there is no Java ${minJava} or newer` }
}

/** 245 MB from Maven's central repository into `.cache/interop`, once a machine. */
const findJar = async (): Promise<FoundNessie<string>> => {
  if (existsSync(jar)) return { found: jar }
  if (process.env.RAT_INTEROP_NESSIE !== "1") {
    return { reason: "the server takes 245 MB; `npm run interop` or RAT_INTEROP_NESSIE=1 has it" }
  }
  const folder = join(cache, `download-${process.pid}`)
  await mkdir(folder, { recursive: true })
  try {
    const copy = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
    const artifact = `-Dartifact=org.projectnessie.nessie:nessie-quarkus:${version}:jar:runner`
    await run("mvn", ["--quiet", "--batch-mode", copy, artifact, `-DoutputDirectory=${folder}`], {
      timeout: 240_000,
      // Nothing but the settings of Maven itself decides: no project file is read here.
      cwd: folder,
    })
    await rename(join(folder, `nessie-quarkus-${version}-runner.jar`), jar)
    return { found: jar }
  } catch (error) {
    const { code, message } = error as { readonly code?: unknown; readonly message: string }
    return {
      reason:
        code === "ENOENT" ? "there is no Maven (mvn)" : `Maven did not fetch the server: ${message.split("\n")[0]}`,
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

export interface Nessie {
  /** `http://127.0.0.1:port` */
  readonly url: string
  readonly process: ChildProcess
}

/** Starts a server on a free port and waits until it listens. */
export const startNessie = async (): Promise<FoundNessie<Nessie>> => {
  const java = await findJava()
  if ("reason" in java) return java
  const server = await findJar()
  if ("reason" in server) return server
  const options = {
    "quarkus.http.host": "127.0.0.1",
    "quarkus.http.port": "0",
    "quarkus.http.access-log.enabled": "false",
    "quarkus.management.host": "127.0.0.1",
    "quarkus.management.port": "0",
    "nessie.version.store.type": "IN_MEMORY",
  }
  const child = spawn(
    java.found,
    ["-Xmx400m", ...Object.entries(options).map(([name, value]) => `-D${name}=${value}`), "-jar", server.found],
    { stdio: ["ignore", "pipe", "pipe"] },
  )
  let log = ""
  const url = await new Promise<string | null>((resolve) => {
    const timer = setTimeout(() => resolve(null), 90_000)
    const end = (value: string | null) => {
      clearTimeout(timer)
      resolve(value)
    }
    const hear = (chunk: Buffer) => {
      log = (log + chunk).slice(-20_000)
      const found = /Listening on: (http:\/\/[\d.]+:\d+)/.exec(log)
      if (found) end(found[1]!)
    }
    child.stdout.on("data", hear)
    child.stderr.on("data", hear)
    child.on("error", () => end(null))
    child.on("exit", () => end(null))
  })
  if (url !== null) return { found: { url, process: child } }
  child.kill("SIGKILL")
  return { reason: `the server did not start: ${log.trim().split("\n").at(-1)}` }
}

/** Ends it at once: nothing of it is kept. */
export const stopNessie = ({ process: child }: Nessie) =>
  new Promise<void>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    child.once("exit", () => resolve())
    child.kill("SIGKILL")
  })
