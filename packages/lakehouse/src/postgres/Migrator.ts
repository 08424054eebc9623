import { createHash } from "node:crypto"
import { Duration, Effect, Schema } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { StatementLimit } from "./PgGuard.ts"

/**
 * One step of the schema. `id` orders the steps of all packages; once merged, neither id nor text ever change.
 *
 * A text with the line `-- compatible-since: 9` promises that programs whose newest step is 9 or later work on the schema
 * with this step: it only adds tables, indexes, and columns with defaults. During a rolling upgrade such a program may not
 * only go on but also start again. Without the line, older programs do not start on a schema with the step.
 */
export interface Migration {
  readonly id: number
  readonly name: string
  /** One or more statements. `create index concurrently` and the like cannot be part: each step is a transaction. */
  readonly sql: string
}

const refusals = {
  changed: (migration: string) =>
    `Migration ${migration} was applied to this database with another text than this program has. Migrations never change: put the old text back and add a new one.`,
  newer: (migration: string) =>
    `This database was written by a newer version of RAT: it has migration ${migration}, which this program does not know and cannot work with. Start that version or a later one, or restore a backup made before the upgrade.`,
  missing: (migration: string) =>
    `Migration ${migration} comes before ones that this database already has. Give it a higher number.`,
  disorder: (migration: string) =>
    `Migration ${migration} does not have a higher number than the one before it. Numbers are unique and rise.`,
}

/** The database and this program disagree about what the schema is. Nothing was changed. */
export class MigrationRefused extends Schema.TaggedError<MigrationRefused>()("MigrationRefused", {
  migration: Schema.String,
  reason: Schema.Literals(["changed", "newer", "missing", "disorder"]),
}) {
  override get message() {
    return refusals[this.reason](this.migration)
  }
}

/** The step failed and was rolled back; the steps before it stay. */
export class MigrationFailed extends Schema.TaggedError<MigrationFailed>()("MigrationFailed", {
  migration: Schema.String,
  cause: Schema.Defect(),
}) {
  override get message() {
    const cause = this.cause as { readonly reason?: { readonly cause?: unknown }; readonly message?: string }
    const detail = cause.reason?.cause instanceof Error ? cause.reason.cause.message : (cause.message ?? String(cause))
    return `Migration ${this.migration} failed and was rolled back: ${detail}`
  }
}

export const migrationChecksum = (migration: Migration): string =>
  createHash("sha256").update(migration.sql).digest("hex")

/** The oldest newest step of programs that work on a schema with this one; null: only those that know it. */
const compatibleSince = (migration: Migration): number | null => {
  const [, since] = /^--\s*compatible-since:\s*(\d+)\s*$/m.exec(migration.sql) ?? []
  return since === undefined ? null : Number(since)
}

const label = (migration: { readonly id: number; readonly name: string }) =>
  `${String(migration.id).padStart(4, "0")}_${migration.name}`

interface Applied {
  readonly id: number
  readonly name: string
  readonly checksum: string
  readonly compatible_since: number | null
}

/** Any number that no other advisory lock of ours uses. */
const migrationLock = 7_245_001n

/** Several statements in one message: the driver's protocol prepares exactly one, so they run inside a `do` block. */
const asOneStatement = (text: string): string => {
  let tag = "$migration$"
  while (text.includes(tag)) tag = `${tag.slice(0, -1)}_$`
  return `do $outer${tag.slice(1)} begin execute ${tag}${text}${tag}; end $outer${tag.slice(1)}`
}

/**
 * Brings the database to the last of `migrations` and answers with the ids it applied. Any number of nodes may call it
 * at once: one works, the others wait and find everything done. Steps of a newer version are fine where all of them are
 * compatible with this one.
 */
export const migrate = Effect.fn("Migrator.migrate")(function* (
  migrations: ReadonlyArray<Migration>,
): Effect.fn.Return<
  ReadonlyArray<number>,
  MigrationRefused | MigrationFailed | SqlError.SqlError,
  SqlClient.SqlClient
> {
  const sql = yield* SqlClient.SqlClient
  for (const [index, migration] of migrations.entries()) {
    const before = migrations[index - 1]
    if (before !== undefined && before.id >= migration.id) {
      return yield* new MigrationRefused({ migration: label(migration), reason: "disorder" })
    }
  }

  // A transaction's lock, not a session's: it cannot leak into the pool. Waiting for it may take as long as the other
  // node's migrations do.
  const locked = Effect.gen(function* () {
    yield* sql`set local statement_timeout = 0`
    yield* sql`set local idle_in_transaction_session_timeout = 0`
    yield* sql`select pg_advisory_xact_lock(${migrationLock})`
    yield* sql`
      create table if not exists migration (
        id integer primary key,
        name text not null,
        checksum text not null,
        applied_at timestamptz not null default now()
      )`
    // Not `add column if not exists` alone: that would lock the table at every start.
    const [column] = yield* sql`
      select 1
      from pg_attribute
      where attrelid = 'migration'::regclass and attname = 'compatible_since' and not attisdropped`
    if (column === undefined) yield* sql`alter table migration add column compatible_since integer`
    const applied = yield* sql<Applied>`
      select id, name, checksum, compatible_since
      from migration
      order by id`
    const known = new Map(migrations.map((migration) => [migration.id, migration]))
    const newest = migrations.at(-1)?.id ?? 0
    for (const row of applied) {
      const migration = known.get(row.id)
      if (migration === undefined) {
        // A node of the version before, in the middle of a rolling upgrade.
        if (row.id > newest && row.compatible_since !== null && row.compatible_since <= newest) continue
        return yield* new MigrationRefused({ migration: label(row), reason: "newer" })
      }
      if (migrationChecksum(migration) !== row.checksum) {
        return yield* new MigrationRefused({ migration: label(migration), reason: "changed" })
      }
    }
    const lastApplied = applied.at(-1)?.id ?? Number.NEGATIVE_INFINITY
    const pending = migrations.filter((migration) => !applied.some((row) => row.id === migration.id))
    for (const migration of pending) {
      if (migration.id < lastApplied) {
        return yield* new MigrationRefused({ migration: label(migration), reason: "missing" })
      }
    }
    const next = pending[0]
    if (next === undefined) return undefined
    yield* sql
      .unsafe(asOneStatement(next.sql))
      .unprepared.pipe(Effect.mapError((cause) => new MigrationFailed({ migration: label(next), cause })))
    yield* sql`
      insert into migration (id, name, checksum, compatible_since)
      values (${next.id}, ${next.name}, ${migrationChecksum(next)}, ${compatibleSince(next)})`
    return next.id
  }).pipe(sql.withTransaction, Effect.provideService(StatementLimit, Duration.infinity))

  const done: Array<number> = []
  for (;;) {
    // Each step is a transaction of its own, so each takes the lock anew and looks again at what is there.
    const id = yield* locked
    if (id === undefined) return done
    done.push(id)
    yield* Effect.logInfo("Applied a migration").pipe(Effect.annotateLogs({ migration: id }))
  }
})
