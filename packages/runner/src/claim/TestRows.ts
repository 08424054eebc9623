import { DuckDBInstance } from "@duckdb/node-api"
import { mainRef, type NamespaceName, type PipelineName, type RefName, TableKey } from "@rat/domain"
import { Catalog, ScanPlanner } from "@rat/lakehouse"
import { Effect } from "effect"

/** Rows of `select <what> from <table> order by all` on a ref, in DuckDB's JSON form; null when there is no such table. */
export const rowsOf = Effect.fnUntraced(function* (table: string, what: string, ref: RefName = mainRef) {
  const catalog = yield* Catalog
  const planner = yield* ScanPlanner
  const [layer, name] = table.split(".") as ["bronze" | "silver" | "gold", string]
  const key = new TableKey({ namespace: "default" as NamespaceName, layer, name: name as PipelineName })
  const pointer = yield* catalog.table(ref, key)
  if (pointer === null) return null
  const plan = yield* planner.plan(pointer.metadataLocation)
  const paths = new Map<string, string>()
  for (const location of plan.locations) paths.set(location, yield* planner.localPath(location))
  return yield* Effect.promise(async () => {
    const instance = await DuckDBInstance.create(":memory:")
    const connection = await instance.connect()
    try {
      const result = await connection.runAndReadAll(
        `select ${what} from (${plan.relation((location) => paths.get(location)!)}) order by all`,
      )
      return result.getRowsJson()
    } finally {
      connection.closeSync()
      instance.closeSync()
    }
  })
}, Effect.scoped)
