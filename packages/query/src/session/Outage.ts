import { QueryUnavailable } from "@rat/domain"
import { isMomentary, type StoreUnavailable, withoutServerPaths } from "@rat/lakehouse"
import { Effect } from "effect"
import type { SqlError } from "effect/sql"

/** What the query role says when a service that it reads from is away. */

export const storeFailure = (error: StoreUnavailable): Effect.Effect<never, QueryUnavailable> =>
  Effect.fail(new QueryUnavailable({ reason: withoutServerPaths(error.message) }))

/** Other errors of Postgres are our own and stay defects. */
export const databaseFailure = (error: SqlError.SqlError): Effect.Effect<never, QueryUnavailable> =>
  isMomentary(error)
    ? Effect.fail(
        new QueryUnavailable({ reason: "The database cannot be reached at the moment. Try again in a few seconds." }),
      )
    : Effect.die(error)
