import { execFile } from "node:child_process"
import * as fs from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"

const run = promisify(execFile)
const here = import.meta.dirname
const cache = join(here, "..", "..", ".cache", "interop")
const packages = ["pyiceberg[pyarrow,sql-sqlite]==0.12.0"]

const install = async (): Promise<{ readonly python: string } | { readonly reason: string }> => {
  const venv = join(cache, "pyiceberg-0.12.0")
  const python = join(venv, "bin", "python")
  const isThere = () =>
    run(python, ["-c", "import pyiceberg.table, pyarrow, sqlalchemy"]).then(
      () => true,
      () => false,
    )
  if (await isThere()) return { python }
  await fs.mkdir(cache, { recursive: true })
  // Test files run in processes of their own: one installs, the others wait for it.
  const lock = `${venv}.lock`
  const isMine = await fs.mkdir(lock).then(
    () => true,
    () => false,
  )
  if (!isMine) {
    for (let waited = 0; waited < 240 && !(await isThere()); waited++) {
      if (!(await fs.stat(lock).catch(() => undefined))) break
      await new Promise((resolve) => setTimeout(resolve, 1000))
    }
    return (await isThere()) ? { python } : { reason: "another test file could not install PyIceberg" }
  }
  try {
    await run("python3", ["-m", "venv", venv])
    await run(
      python,
      [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--retries",
        "1",
        "--timeout",
        "15",
        ...packages,
      ],
      {
        timeout: 180_000,
      },
    )
    return (await isThere()) ? { python } : { reason: "PyIceberg was installed but cannot be imported" }
  } catch (error) {
    await fs.rm(venv, { recursive: true, force: true })
    return { reason: `PyIceberg could not be installed: ${(error as Error).message.trim().split("\n").at(-1)}` }
  } finally {
    await fs.rm(lock, { recursive: true, force: true })
  }
}

let started: ReturnType<typeof install> | undefined

/**
 * A Python with PyIceberg, installed into `.cache/interop` on the first call; where Python or pip cannot do that (none there,
 * network off) the reason instead.
 */
export const pyIceberg = () => {
  started ??= install()
  return started
}

/** Runs one of this folder's scripts; answers with what it printed. */
export const runScript = async (python: string, script: string, ...args: ReadonlyArray<string>): Promise<string> =>
  (await run(python, [join(here, script), ...args], { maxBuffer: 2 ** 30 })).stdout
