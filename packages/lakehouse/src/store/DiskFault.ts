import { NotAFile } from "./DurableFile.ts"
import { StoreFault } from "./Resilience.ts"

/** What people read per error of the operating system, and whether trying again can help. `where` is the folder of the store. */
const sentences: {
  readonly [code: string]: {
    readonly say: (where: string) => string
    readonly transient?: true
    readonly outage?: true
  }
} = {
  ENOSPC: {
    say: (where) =>
      `the disk that holds ${where} is full. Free some space on it, or move the data folder to a larger disk.`,
  },
  EDQUOT: {
    say: (where) => `the disk quota for ${where} is used up. Raise the quota, or move the data folder to another disk.`,
  },
  EROFS: {
    say: (where) => `${where} is mounted read-only. Mount it writable, or choose another data folder with --data.`,
  },
  EACCES: {
    say: (where) =>
      `this user may not write in ${where}. Give it the right to (chown, chmod), or choose another data folder with --data.`,
  },
  EPERM: {
    say: (where) =>
      `this user may not change files in ${where}. Give it the right to (chown, chmod), or choose another data folder with --data.`,
  },
  ENOTDIR: {
    say: (where) =>
      `in ${where} a part of the key is an object already, so nothing can be stored below it. Use another key.`,
  },
  EISDIR: {
    say: (where) =>
      `in ${where} other objects are stored below this key, so it cannot be an object itself. Use another key.`,
  },
  ENAMETOOLONG: { say: () => "the file system does not take names this long. Use a shorter name." },
  EMFILE: { say: () => "this process has too many files open. Raise the limit (ulimit -n).", transient: true },
  ENFILE: { say: () => "the machine has too many files open. Raise the limit (sysctl fs.file-max).", transient: true },
  EBUSY: { say: (where) => `a file in ${where} is in use. Find out which program holds it.`, transient: true },
  EIO: {
    say: (where) => `the disk that holds ${where} reported an input/output error. Check the disk and its log (dmesg).`,
    transient: true,
    outage: true,
  },
  ESTALE: {
    say: (where) => `the network file system that holds ${where} lost the file handle. Check its server.`,
    transient: true,
    outage: true,
  },
  ETIMEDOUT: {
    say: (where) => `the network file system that holds ${where} does not answer. Check its server.`,
    transient: true,
    outage: true,
  },
}

/** Translates a failed file system call into a sentence that says what to do. */
export const diskFault = (where: string, cause: unknown): StoreFault => {
  if (cause instanceof NotAFile) {
    return new StoreFault({ reason: "what was to be stored is not a regular file.", transient: false, outage: false })
  }
  const { code, message } = cause as NodeJS.ErrnoException
  const known = code === undefined ? undefined : sentences[code]
  return new StoreFault({
    reason: known?.say(where) ?? `the file system that holds ${where} refused: ${message}.`,
    transient: known?.transient ?? false,
    outage: known?.outage ?? false,
    cause,
  })
}
