import type { SqlError } from "effect/sql"

/**
 * What Postgres says when it ends a session or takes none: it stops (57P01), another session crashed it (57P02), it does
 * not take sessions yet (57P03), the session was idle for too long (57P05, and 25P03 inside a transaction), there are too
 * many sessions (53300).
 */
const sessionCodes = new Set(["57P01", "57P02", "57P03", "57P05", "25P03", "53300"])

/** SQLSTATE or errno of what the driver reported. */
export const postgresCode = (error: SqlError.SqlError): string | undefined =>
  (error.reason.cause as { readonly code?: string } | undefined)?.code

/** What Postgres gave up in favour of somebody else, or because it was too busy. */
const busyTags = new Set(["LockTimeoutError", "StatementTimeoutError", "DeadlockError", "SerializationError"])

/** Whether the same can work a moment later, with nothing repaired by anybody: an outage, or too much going on. */
export const isMomentary = (error: SqlError.SqlError): boolean =>
  isPostgresOutage(error) || busyTags.has(error.reason._tag)

/** Whether Postgres or the session was away, so that the statement may be tried again when it is back. */
export const isPostgresOutage = (error: SqlError.SqlError): boolean =>
  error.reason._tag === "ConnectionError" || sessionCodes.has(postgresCode(error) ?? "")
