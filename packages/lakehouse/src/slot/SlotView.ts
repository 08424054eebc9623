import { existsSync, lstatSync, readFileSync, readlinkSync, realpathSync } from "node:fs"
import { basename, dirname, join, sep } from "node:path"
import { fileURLToPath } from "node:url"

/** What a slot sees of the file system behind its wall. */

/** A slot's process to be started. */
export interface Launch {
  /** The slot's folder, made by `makeSlotFolder`. */
  readonly folder: string
  /** Mount point for the slot's view of the file system: an empty folder that slots may share. */
  readonly root: string
  readonly entry: string
  readonly execArgv: ReadonlyArray<string>
  /** Bytes that the process may allocate at most, resident or not. */
  readonly dataBytes?: number
  /** Threads of the engine. */
  readonly threads: number
}

/** Folders of the system that programs need to start; those that are not there are left out. */
export const systemFolders = [
  "/usr",
  "/lib",
  "/lib64",
  "/lib32",
  "/bin",
  "/nix/store",
  "/gnu/store",
  "/etc/ld.so.cache",
]

const packageRoot = (path: string): string => {
  for (let folder = dirname(path); folder !== dirname(folder); folder = dirname(folder))
    if (existsSync(join(folder, "package.json"))) return folder
  return dirname(path)
}

const modulesAbove = (start: string): ReadonlyArray<string> => {
  const found: Array<string> = []
  for (let folder = start; folder !== dirname(folder); folder = dirname(folder)) {
    const modules = basename(folder) === "node_modules" ? folder : join(folder, "node_modules")
    if (existsSync(modules)) found.push(modules)
  }
  return found
}

const dependenciesOf = (root: string): ReadonlyArray<string> => {
  const path = join(root, "package.json")
  if (!existsSync(path)) return []
  const { dependencies = {} } = JSON.parse(readFileSync(path, "utf8")) as { readonly dependencies?: object }
  return Object.keys(dependencies)
}

/** Every folder that holds code of a slot: its package and what it depends on, where packages may be links elsewhere. */
export const codeFolders = (entry: string): ReadonlyArray<string> => {
  const folders = new Set<string>()
  const add = (root: string): void => {
    if (folders.has(root)) return
    folders.add(root)
    const modules = modulesAbove(root)
    for (const each of modules) folders.add(each)
    for (const name of dependenciesOf(root)) {
      const path = modules.map((each) => join(each, name)).find((each) => existsSync(each))
      if (path !== undefined && lstatSync(path).isSymbolicLink()) add(realpathSync(path))
    }
  }
  add(packageRoot(entry))
  add(packageRoot(fileURLToPath(import.meta.url)))
  folders.add(dirname(process.execPath))
  const all = [...folders]
  return all.filter((folder) => !all.some((other) => other !== folder && folder.startsWith(other + sep)))
}

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

/** Shell text that makes `root` the file system: what is listed and nothing else. Runs with the rights of root. */
export const mountScript = ({ root, folder, entry }: Launch): string => {
  const folders: Array<string> = []
  const lines: Array<string> = []
  const bind = (path: string, options: string) => {
    folders.push(root + path)
    lines.push(`mount -n -o bind,${options} ${quote(path)} ${quote(root + path)}`)
  }
  for (const path of systemFolders.filter((each) => existsSync(each))) {
    try {
      const target = readlinkSync(path)
      lines.push(`ln -s ${quote(target)} ${quote(root + path)}`)
      continue
    } catch {} // no link
    if (path.startsWith("/etc/")) {
      folders.push(root + dirname(path))
      lines.push(`: > ${quote(root + path)}`, `mount -n -o bind,ro,nosuid,nodev ${quote(path)} ${quote(root + path)}`)
    } else bind(path, "ro,nosuid,nodev")
  }
  for (const path of codeFolders(entry)) {
    if (!systemFolders.some((system) => path.startsWith(system + sep))) bind(path, "ro,nosuid,nodev")
  }
  bind(join(folder, "in"), "ro,nosuid,nodev,noexec")
  for (const name of ["out", "spill"]) bind(join(folder, name), "rw,nosuid,nodev,noexec")
  folders.push(`${root}/dev`, `${root}/proc`, `${root}/old`)
  for (const device of ["/dev/null", "/dev/urandom"])
    lines.push(`: > ${quote(root + device)}`, `mount -n --bind ${device} ${quote(root + device)}`)
  return [
    "set -e",
    `mount -n -t tmpfs -o size=1m,mode=755 tmpfs ${quote(root)}`,
    `mkdir -p ${[...new Set(folders)].map(quote).join(" ")}`,
    ...lines,
    `mount -n -t proc -o nosuid,nodev,noexec proc ${quote(`${root}/proc`)}`,
    `cd ${quote(root)}`,
    "pivot_root . old",
    `cd ${quote(folder)}`,
    "umount -l /old",
    "mount -n -o remount,bind,ro /",
    "unset PWD OLDPWD",
    "set +e",
    // Not exec: the first process of a namespace does not die of most signals, and this shell says which one it was.
    '"$@"',
    "exit $?",
  ].join("\n")
}
