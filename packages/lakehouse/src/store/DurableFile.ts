import {
  closeSync,
  constants,
  fchmodSync,
  fdatasync,
  fstatSync,
  fsync,
  link,
  open,
  openSync,
  rename,
  unlink,
  writeSync,
} from "node:fs"
import * as fs from "node:fs/promises"
import { dirname } from "node:path"
import { setImmediate } from "node:timers/promises"
import { promisify } from "node:util"

/**
 * Files that are there whole or not at all, and there for good once the promise is fulfilled. The order is what makes it
 * so: bytes into a temporary file, fsync of the file, rename (or link) to its name, fsync of the folder that holds it.
 *
 * Promises and not effects: what a disk began cannot be interrupted. A caller past its deadline stops waiting, and these
 * functions still close and remove what they opened.
 */

const codeOf = (cause: unknown): string | undefined => (cause as NodeJS.ErrnoException | undefined)?.code

/** A slot writes the file, so what it hands over may be anything. */
export class NotAFile extends Error {}

// A small put is measured in system calls: those that only touch memory are made at once, the others in the thread pool
// (which is what costs); this halves the processor time of a put.
const openFile = promisify(open)
const renameFile = promisify(rename)
const linkFile = promisify(link)
const unlinkFile = promisify(unlink)
const syncData = promisify(fdatasync)
const syncAll = promisify(fsync)
const smallBytes = 64 << 10

const syncFolderNow = async (folder: string): Promise<void> => {
  const descriptor = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await syncAll(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** Of one folder: the fsync that is under way, and the one that begins after it, which may still be joined. */
interface FolderSync {
  running: Promise<void> | undefined
  next: Promise<void> | undefined
}
const folderSyncs = new Map<string, FolderSync>()

/** Makes a folder's entries durable. Those who ask before an fsync has begun share it: the files of a commit come at about the same time. */
const syncFolder = (folder: string): Promise<void> => {
  const state = folderSyncs.get(folder) ?? { running: undefined, next: undefined }
  folderSyncs.set(folder, state)
  const begin = async (): Promise<void> => {
    await (state.running === undefined ? setImmediate() : state.running.catch(() => {}))
    const running = syncFolderNow(folder)
    state.running = running
    state.next = undefined
    try {
      await running
    } finally {
      state.running = undefined
      if (state.next === undefined) folderSyncs.delete(folder)
    }
  }
  state.next ??= begin()
  return state.next
}

const write = async (path: string, bytes: Uint8Array): Promise<void> => {
  if (bytes.length > smallBytes) {
    const handle = await fs.open(path, "wx", 0o444)
    try {
      await handle.writeFile(bytes)
      await handle.datasync()
    } finally {
      await handle.close()
    }
    return
  }
  const descriptor = await openFile(path, "wx", 0o444)
  try {
    for (let written = 0; written < bytes.length; ) written += writeSync(descriptor, bytes, written)
    await syncData(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

// Folders being created now. Whoever puts a file below one of them must wait until its own entry is durable as well.
const creating = new Set<Promise<void>>()

const createFolder = async (folder: string): Promise<void> => {
  const first = await fs.mkdir(folder, { recursive: true }).catch(async (cause) => {
    if (codeOf(cause) !== "ENOENT") throw cause
    // On a read-only file system Node reports a folder as missing that it could not make: ask for the real reason.
    const existing = (path: string): Promise<boolean> =>
      fs.stat(path).then(
        () => true,
        () => false,
      )
    let missing = folder
    while (!(await existing(dirname(missing)))) missing = dirname(missing)
    await fs.mkdir(missing)
    throw cause
  })
  if (first === undefined) return
  // The entry of each new folder lives in its parent.
  for (let created = folder; ; created = dirname(created)) {
    await syncFolder(dirname(created))
    if (created === first || dirname(created) === created) return
  }
}

export const makeFolder = (folder: string): Promise<void> => {
  const creation = createFolder(folder).finally(() => creating.delete(creation))
  creating.add(creation)
  return creation
}

/**
 * Runs `move` (a rename or link to `target`), makes the folder when it is missing, makes the new entry durable. Folders are
 * not looked for beforehand: nearly always they are there. They may also vanish in between, being removed when empty.
 */
const place = async (target: string, move: () => Promise<void>): Promise<void> => {
  const folder = dirname(target)
  for (let attempt = 1; ; attempt++) {
    try {
      await move()
      break
    } catch (cause) {
      if (codeOf(cause) !== "ENOENT" || attempt === 5) throw cause
      await makeFolder(folder)
    }
  }
  await Promise.all([syncFolder(folder), ...creating])
}

const discard = (path: string): Promise<void> => unlinkFile(path).catch(() => {})

/** Writes `bytes` to `target` by way of `temporary` (same file system); false: `ifAbsent` and it was there. Read-only. */
export const writeFile = async (options: {
  readonly bytes: Uint8Array
  readonly temporary: string
  readonly target: string
  readonly ifAbsent: boolean
}): Promise<boolean> => {
  const { bytes, temporary, target, ifAbsent } = options
  try {
    await write(temporary, bytes)
    if (!ifAbsent) {
      await place(target, () => renameFile(temporary, target))
      return true
    }
    // A rename would replace what is there; link refuses, and of two writers at most one succeeds.
    try {
      await place(target, () => linkFile(temporary, target))
      return true
    } catch (cause) {
      if (codeOf(cause) === "EEXIST") return false
      throw cause
    } finally {
      await discard(temporary)
    }
  } catch (cause) {
    await discard(temporary)
    throw cause
  }
}

const copyDurably = async (source: string, copy: string): Promise<void> => {
  await fs.copyFile(source, copy, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
  const handle = await fs.open(copy, "r")
  try {
    await handle.chmod(0o444)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const openSource = (source: string): number => {
  try {
    return openSync(source, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (cause) {
    throw codeOf(cause) === "ELOOP" ? new NotAFile() : cause
  }
}

/** Makes the file `source` the file `target`, without a copy where both are on one file system; `source` is gone afterwards. */
export const takeOverFile = async (options: {
  readonly source: string
  readonly temporary: string
  readonly target: string
}): Promise<void> => {
  const { source, temporary, target } = options
  // O_NOFOLLOW: a link to another file must not become an object. O_NONBLOCK: neither must a pipe hold up the call.
  const descriptor = openSource(source)
  let owned = true
  try {
    if (!fstatSync(descriptor).isFile()) throw new NotAFile()
    try {
      fchmodSync(descriptor, 0o444)
    } catch (cause) {
      if (codeOf(cause) !== "EPERM") throw cause
      owned = false // written by another user: only a copy can be made read-only
    }
    if (owned) await syncAll(descriptor)
  } finally {
    closeSync(descriptor)
  }
  if (owned) {
    try {
      await place(target, () => renameFile(source, target))
      return
    } catch (cause) {
      if (codeOf(cause) !== "EXDEV") throw cause
    }
  }
  try {
    await copyDurably(source, temporary)
    await place(target, () => renameFile(temporary, target))
  } catch (cause) {
    await discard(temporary)
    throw cause
  }
  await discard(source)
}
