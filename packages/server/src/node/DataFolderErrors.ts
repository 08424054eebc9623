import { Schema } from "effect"

/** Another server works in the folder. */
export class DataFolderInUse extends Schema.TaggedError<DataFolderInUse>()("DataFolderInUse", {
  folder: Schema.String,
  pid: Schema.Int,
  host: Schema.NullOr(Schema.String),
  since: Schema.String,
  listening: Schema.NullOr(Schema.String),
}) {
  override get message() {
    const where = this.host === null ? "" : ` on ${this.host}`
    const listening = this.listening === null ? "" : `, listening on ${this.listening}`
    const advice =
      this.host === null
        ? "Stop it, or use another folder with --data."
        : "Stop it, or use another folder with --data. If that machine is gone, try again in half a minute."
    return `The data folder ${this.folder} is already in use by process ${this.pid}${where} since ${this.since}${listening}. ${advice}`
  }
}

/** The folder was written by a later version than this one. */
export class DataFolderNewer extends Schema.TaggedError<DataFolderNewer>()("DataFolderNewer", {
  folder: Schema.String,
  wroteIt: Schema.String,
  version: Schema.String,
}) {
  override get message() {
    return `The data folder ${this.folder} was last used by RAT ${this.wroteIt}; this is RAT ${this.version}, which may not understand it. Start RAT ${this.wroteIt} or later, restore a backup made before the upgrade, or use another folder with --data.`
  }
}

/** The folder cannot be made or used. */
export class DataFolderUnusable extends Schema.TaggedError<DataFolderUnusable>()("DataFolderUnusable", {
  folder: Schema.String,
  reason: Schema.String,
  advice: Schema.String,
}) {
  override get message() {
    return `The data folder ${this.folder} cannot be used: ${this.reason}. ${this.advice}`
  }
}

const byCode: Readonly<Record<string, readonly [reason: string, advice: string]>> = {
  EACCES: ["this user may not write there", "Change its owner, or use another folder with --data."],
  EPERM: ["this user may not write there", "Change its owner, or use another folder with --data."],
  EROFS: ["it is on a read-only file system", "Use another folder with --data."],
  ENOSPC: ["the disk is full", "Free some space, or use a folder on another disk with --data."],
  ENOTDIR: ["a part of its path is a file", "Use another folder with --data."],
  EEXIST: ["it is a file", "Use another folder with --data."],
}

export const explainFolder = (folder: string, cause: unknown): DataFolderUnusable => {
  const error = cause as NodeJS.ErrnoException
  const [reason, advice] = byCode[error.code ?? ""] ?? [error.message, "Use another folder with --data."]
  return new DataFolderUnusable({ folder, reason, advice })
}
