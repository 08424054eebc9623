import { PgClient } from "@effect/sql-pg"
import { ManagedRuntime, Redacted } from "effect"
import { SqlClient } from "effect/sql"

/** Eyes on the rows of a cluster, past everything that the cluster's own code does with them. */
export interface Database {
  /** Rows with int8 as bigint or text, whatever the driver gives: `Number()` both. */
  readonly rows: <Row extends object>(
    statement: string,
    parameters?: ReadonlyArray<unknown>,
  ) => Promise<ReadonlyArray<Row>>
  readonly close: () => Promise<void>
}

export const openDatabase = (url: string): Database => {
  const runtime = ManagedRuntime.make(
    PgClient.layer({
      url: Redacted.make(url),
      applicationName: "chaos",
      minConnections: 0,
      maxConnections: 2,
      connectTimeout: "5 seconds",
    }),
  )
  return {
    rows: <Row extends object>(statement: string, parameters: ReadonlyArray<unknown> = []) =>
      runtime.runPromise(SqlClient.SqlClient.use((sql) => sql.unsafe<Row>(statement, parameters))),
    close: () => runtime.dispose(),
  }
}
