import { isPostgresOutage } from "@rat/lakehouse"
import { Cause, Effect } from "effect"
import { type SqlClient, SqlError } from "effect/sql"

/**
 * `sql.withTransaction` for a session that may be ended in the middle: then the rollback fails too, which Effect's own turns into a
 * defect. Here it is the outage that it is, so that callers may repeat the whole. A commit whose answer was lost fails in the same
 * way although it may have happened: repeat only what finds its own traces.
 */
export const inTransaction =
  (sql: SqlClient.SqlClient) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError.SqlError, R> =>
    Effect.catchCause(sql.withTransaction(effect), (cause) => {
      const outage = cause.reasons.find(
        (reason) => Cause.isDieReason(reason) && SqlError.isSqlError(reason.defect) && isPostgresOutage(reason.defect),
      )
      return outage === undefined
        ? Effect.failCause(cause)
        : Effect.fail((outage as Cause.Die).defect as SqlError.SqlError)
    })
