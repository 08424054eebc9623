import { execFile } from "node:child_process"
import { mkdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"

const run = promisify(execFile)
const packages = ["deltalake==1.6.6", "pyarrow==26.0.1"]
const cache = join(import.meta.dirname, "..", "..", ".cache", "interop")

/** A Python with deltalake, installed into `.cache/interop` on the first call; where that cannot be, the reason. */
export const deltaLake = async (): Promise<{ readonly python: string } | { readonly reason: string }> => {
  const venv = join(cache, "deltalake-1.6.6")
  const python = join(venv, "bin", "python")
  const isThere = () =>
    run(python, ["-c", "import deltalake, pyarrow"]).then(
      () => true,
      () => false,
    )
  if (await isThere()) return { python }
  try {
    await mkdir(cache, { recursive: true })
    await run("python3", ["-m", "venv", venv])
    const options = ["--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "15"]
    await run(python, ["-m", "pip", "install", ...options, ...packages], { timeout: 180_000 })
    return (await isThere()) ? { python } : { reason: "deltalake was installed but cannot be imported" }
  } catch (error) {
    await rm(venv, { recursive: true, force: true })
    return { reason: `deltalake could not be installed: ${(error as Error).message.trim().split("\n").at(-1)}` }
  }
}
