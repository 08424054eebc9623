import { Context, type Effect, Schema } from "effect"
import type { TableCorrupt } from "../iceberg/TableCorrupt.ts"
import type { ObjectNotFound, StoreUnavailable } from "../store/ObjectStore.ts"

/** The engine refused or broke off a statement of ours. */
export class EngineFailed extends Schema.TaggedError<EngineFailed>()("EngineFailed", {
  /** `sql.error`, `limit.memory`, `limit.disk`, … as slots say it. */
  code: Schema.String,
  reason: Schema.String,
}) {
  override get message() {
    return this.reason
  }
}

/**
 * A DuckDB session that executes our own SQL (never a person's) over files of this machine: a slot of a runner, or in tests
 * and benches an instance in the same process. One statement at a time.
 */
export class Engine extends Context.Service<
  Engine,
  {
    /** Runs one statement; rows are objects of JavaScript values by column name (64-bit numbers as bigint). */
    readonly run: (sql: string) => Effect.Effect<ReadonlyArray<Readonly<Record<string, unknown>>>, EngineFailed>
    /** Makes files of the object store readable and answers with the path that SQL names them by. Repeats cost nothing. */
    readonly readable: (
      locations: ReadonlyArray<string>,
    ) => Effect.Effect<(location: string) => string, EngineFailed | ObjectNotFound | StoreUnavailable | TableCorrupt>
    /** A folder that the engine may write to and this process may read from; ends with the engine. */
    readonly outFolder: string
    /** The file that SQL wrote at `path` (below `outFolder`) is about to become `location`: readable from now on. */
    readonly written: (location: string, path: string) => Effect.Effect<void, EngineFailed>
  }
>()("rat/lakehouse/write/Engine") {}
