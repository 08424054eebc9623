import type { SqlError } from "effect/sql"

/** The server says that it stops (57P01), that another session crashed it (57P02), or that it does not take sessions yet (57P03). */
const shutdownCodes = new Set(["57P01", "57P02", "57P03"])

/** SQLSTATE or errno of what the driver reported. */
export const postgresCode = (error: SqlError.SqlError): string | undefined =>
  (error.reason.cause as { readonly code?: string } | undefined)?.code

/** Whether Postgres was away, so that the statement may be tried again when it is back. */
export const isPostgresOutage = (error: SqlError.SqlError): boolean =>
  error.reason._tag === "ConnectionError" || shutdownCodes.has(postgresCode(error) ?? "")
