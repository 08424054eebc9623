import { PostgresCatalog, TestPostgres } from "@rat/lakehouse"
import { Layer } from "effect"
import { Outbox } from "../event/Outbox.ts"
import { migrations } from "../sql/migrations.ts"
import { RunHub } from "./RunHub.ts"
import { RunSettings } from "./RunSettings.ts"

/** What everything about runs stands on, with a fresh database. Test support only. */
export const testRuns = (settings: Parameters<typeof RunSettings.layerWith>[0]) =>
  Layer.mergeAll(RunHub.layer, Outbox.layer, RunSettings.layerWith(settings), PostgresCatalog.layer).pipe(
    Layer.provideMerge(TestPostgres.layer(migrations)),
  )
