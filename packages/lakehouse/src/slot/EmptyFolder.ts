import { mkdirSync, readdirSync, rmSync, unlinkSync } from "node:fs"
import { join } from "node:path"

/**
 * Removes what the folder `name` of a slot (`in`, `out`, `spill`) holds; standing folders stay, or are made again, and are
 * emptied. Answers with how many entries there were that do not stand. System calls at once: a hop to the thread pool costs more
 * than each of them.
 */
export const emptyFolder = (folder: string, name: string, standing: ReadonlyArray<string>): number => {
  const missing = new Set(standing.filter((path) => path.startsWith(`${name}/`)))
  let removed = 0
  for (const entry of readdirSync(join(folder, name), { withFileTypes: true })) {
    const path = `${name}/${entry.name}`
    // A link to a folder is no folder, whatever it is called.
    if (entry.isDirectory() && missing.delete(path)) {
      removed += emptyFolder(folder, path, [])
      continue
    }
    removed++
    if (entry.isDirectory()) rmSync(join(folder, path), { recursive: true, force: true })
    else unlinkSync(join(folder, path))
  }
  for (const path of missing) mkdirSync(join(folder, path), { mode: 0o755 })
  return removed
}
