import { QueryRpc, SlotHealth, TableNotFound } from "@rat/domain"
import { Catalog, type IcebergTable, type ObjectStore, ScanPlanner, SlotPools } from "@rat/lakehouse"
import { Effect, Stream } from "effect"
import { QueryConfig, queryLimitSettings } from "./limit/QueryConfig.ts"
import { databaseFailure, storeFailure } from "./session/Outage.ts"
import { answerQuery } from "./session/QueryAnswer.ts"
import { diffTable } from "./session/TableDiff.ts"

/** A statement stops within milliseconds of an interrupt; what takes longer is not coming back. */
const cancelGraceMs = 2_000

/**
 * Answers `QueryRpc`: people's SQL, each query in a slot process of its own. Asks for the lakehouse's services,
 * `SlotPools` and `QueryConfig`. Broken tables are defects that carry the tagged error.
 */
export const QueryRole = {
  layer: QueryRpc.toLayer(
    Effect.gen(function* () {
      const config = yield* QueryConfig
      const pools = yield* SlotPools
      const catalog = yield* Catalog
      const planner = yield* ScanPlanner
      const services = yield* Effect.context<Catalog | IcebergTable | ScanPlanner | ObjectStore>()
      const pool = yield* pools.make({
        name: "query",
        size: config.slots,
        maxWaiting: config.maxWaiting,
        entry: new URL("./session/QuerySlot.ts", import.meta.url),
        folder: config.slotFolder,
        memoryLimitBytes: config.memoryLimitBytes,
        spillLimitBytes: config.spillLimitBytes,
        threads: config.threads,
        limits: config.limits,
        limitSettings: queryLimitSettings,
        ...config.recycling,
        cancelGraceMs,
      })

      return QueryRpc.of({
        Query: (request) =>
          answerQuery(pool, request, config.timeoutMs).pipe(
            Stream.catchTags({
              SqlError: (error) => Stream.fromEffect(databaseFailure(error)),
              StoreUnavailable: (error) => Stream.fromEffect(storeFailure(error)),
              ObjectNotFound: Stream.die,
              TableCorrupt: Stream.die,
            }),
            Stream.provideContext(services),
          ),
        Describe: Effect.fn("QueryRole.describe")(
          function* ({ table, ref }) {
            const pointer = yield* catalog.table(ref, table)
            if (pointer === null) return yield* new TableNotFound({ table: String(table), ref })
            return (yield* planner.outline(pointer.metadataLocation)).columns
          },
          Effect.catchTags({
            SqlError: databaseFailure,
            StoreUnavailable: storeFailure,
            ObjectNotFound: Effect.die,
            TableCorrupt: Effect.die,
          }),
        ),
        Diff: (request) =>
          diffTable(pool, request, config.timeoutMs).pipe(
            Effect.catchTags({
              SqlError: databaseFailure,
              StoreUnavailable: storeFailure,
              ObjectNotFound: Effect.die,
              TableCorrupt: Effect.die,
            }),
            Effect.provideContext(services),
          ),
        Health: () => Effect.map(pool.stats, (stats) => new SlotHealth(stats)),
      })
    }),
  ),
}
