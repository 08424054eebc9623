import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import { installFolder, installOnce } from "../../interop/Install.ts"

const run = promisify(execFile)

/** Where packages are, or why they are not. */
export type Installed = { readonly folder: string } | { readonly reason: string }

/**
 * Packages of a fixed version each, installed on the first call into a folder that only benches use: nobody else pays for
 * them. Nothing that they bring is run while installing.
 */
export const installPeer = async (name: string, packages: Readonly<Record<string, string>>): Promise<Installed> => {
  const folder = join(installFolder, `peer-${name}-${Object.values(packages).join("-")}`)
  const isThere = async () =>
    Object.keys(packages).every((dependency) => existsSync(join(folder, "node_modules", dependency, "package.json")))
  const reason = await installOnce(folder, isThere, async () => {
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, dependencies: packages }))
    const options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    await run("npm", ["install", ...options], { cwd: folder, timeout: 300_000 })
  })
  return reason === undefined ? { folder } : { reason: `${name}: ${reason}` }
}
