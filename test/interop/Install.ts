import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdir, rename, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"

/*
 * Engines of others, each of a fixed version from its package registry, in `.cache/interop`. The first call installs, later
 * ones find it there. A machine that cannot (no Python, no Java, network off) gets a reason to skip instead.
 */

const run = promisify(execFile)
export const installFolder = join(import.meta.dirname, "..", "..", ".cache", "interop")

export type Found<A> = A | { readonly reason: string }
export interface Python {
  readonly python: string
}

const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Longest time that one installation may take; an older lock is that of a process that died. */
const limitMs = 300_000

/** Installs what is not there yet; answers with why that cannot be. Test files run in processes of their own: one installs, the others wait for it. */
export const installOnce = async (
  folder: string,
  isThere: () => Promise<boolean>,
  install: () => Promise<void>,
): Promise<string | undefined> => {
  await mkdir(installFolder, { recursive: true })
  const lock = `${folder}.lock`
  for (;;) {
    if (await isThere()) return undefined
    const isMine = await mkdir(lock).then(
      () => true,
      () => false,
    )
    if (isMine) break
    const held = await stat(lock).catch(() => undefined)
    if (held !== undefined && Date.now() - held.mtimeMs > limitMs) await rm(lock, { recursive: true, force: true })
    await delay(500)
  }
  try {
    if (await isThere()) return undefined
    await install()
    return (await isThere()) ? undefined : "it was installed but does not start"
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    const { code, message, stderr } = error as { code?: unknown; message: string; stderr?: string }
    if (code === "ENOENT") return `there is no ${(error as { path?: string }).path ?? "such program"} here`
    const lines = (stderr?.trim() ? stderr : message).trim().split("\n")
    return `it could not be installed: ${lines.findLast((line) => /error/i.test(line)) ?? lines.at(-1)}`
  } finally {
    await rm(lock, { recursive: true, force: true })
  }
}

/** A Python with packages; `imports` is what must be importable. The folder's name carries what changes with the versions. */
export const pythonWith = (folderName: string, packages: ReadonlyArray<string>, imports: string) => {
  let started: Promise<Found<Python>> | undefined
  const install = async (): Promise<Found<Python>> => {
    const folder = join(installFolder, folderName)
    const python = join(folder, "bin", "python")
    const isThere = () =>
      run(python, ["-c", `import ${imports}`]).then(
        () => true,
        () => false,
      )
    const reason = await installOnce(folder, isThere, async () => {
      await run("python3", ["-m", "venv", folder])
      const options = ["--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "15"]
      await run(python, ["-m", "pip", "install", ...options, ...packages], { timeout: limitMs })
    })
    return reason === undefined ? { python } : { reason: `${folderName}: ${reason}` }
  }
  return () => {
    started ??= install()
    return started
  }
}

/** The path of a Java library, by Maven coordinates. */
const jarOf = async (group: string, artifact: string, version: string): Promise<Found<{ readonly jar: string }>> => {
  const folder = join(installFolder, `${artifact}-${version}`)
  const jar = join(folder, `${artifact}-${version}.jar`)
  const reason = await installOnce(
    folder,
    async () => existsSync(jar),
    async () => {
      const download = `${folder}.download`
      await rm(download, { recursive: true, force: true })
      await mkdir(download)
      // A fixed version of the plugin, and a folder without a project: nothing but Maven's own settings decides.
      const copy = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
      const options = [`-Dartifact=${group}:${artifact}:${version}`, `-DoutputDirectory=${download}`]
      await run("mvn", ["--quiet", "--batch-mode", copy, ...options], { cwd: download, timeout: limitMs })
      await rename(download, folder)
    },
  )
  return reason === undefined ? { jar } : { reason: `${artifact} ${version}: ${reason}` }
}

export const pyIceberg = pythonWith(
  "pyiceberg-0.12.0",
  ["pyiceberg[pyarrow,sql-sqlite]==0.12.0"],
  "pyiceberg.table, pyarrow, sqlalchemy",
)

const extensions = ["httpfs", "avro", "iceberg"]

/** DuckDB with its iceberg extension: the extensions come as packages, so nothing is fetched when they are loaded. */
export const duckDb = pythonWith(
  "duckdb-1.5.5",
  ["duckdb==1.5.5", "pytz==2025.2", ...extensions.map((name) => `duckdb-extension-${name}==1.5.5`)],
  ["duckdb, pytz", ...extensions.map((name) => `duckdb_extension_${name}`)].join(", "),
)

const pySpark = pythonWith("spark-3.5.7", ["pyspark==3.5.7"], "pyspark.sql")

/** Spark with the Iceberg runtime: 420 MB, and a Java of 17 or 11. */
export const spark = async (): Promise<Found<Python & { readonly jar: string }>> => {
  if (process.env.RAT_INTEROP_SPARK !== "1") {
    return { reason: "Spark takes 420 MB; `npm run interop` or RAT_INTEROP_SPARK=1 has it" }
  }
  const java = await run("java", ["-version"]).catch(() => undefined)
  const version = Number(/version "(\d+)/.exec(java?.stderr ?? "")?.[1] ?? 0)
  if (version !== 11 && version !== 17) {
    return {
      reason: `Spark 3.5 needs Java 11 or 17 on the PATH; ${version === 0 ? "there is none" : `this is ${version}`}`,
    }
  }
  const [python, library] = await Promise.all([
    pySpark(),
    jarOf("org.apache.iceberg", "iceberg-spark-runtime-3.5_2.12", "1.10.0"),
  ])
  if ("reason" in python) return python
  return "reason" in library ? library : { ...python, ...library }
}

/** Runs one of this folder's scripts; answers with what it printed. */
export const runScript = async (python: string, script: string, ...args: ReadonlyArray<string>): Promise<string> =>
  (await run(python, [join(import.meta.dirname, script), ...args], { maxBuffer: 2 ** 30 })).stdout
