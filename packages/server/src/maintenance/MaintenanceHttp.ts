import {
  Api,
  MaintenanceId,
  mainRef,
  maintenancePolicyOf,
  pageOf,
  TableKey,
  TableNotFound,
  tableOperations,
} from "@rat/domain"
import { Catalog, IcebergTable, pipelinePolicy } from "@rat/lakehouse"
import { Effect } from "effect"
import { SecureRandom } from "effect/crypto"
import { HttpApiBuilder } from "effect/http-api"
import { wired } from "../http/ErrorEnvelope.ts"
import { RunnerClient } from "../project/RunnerClient.ts"
import { MaintenanceRepository } from "./MaintenanceRepository.ts"
import { MaintenanceSettings } from "./MaintenanceSettings.ts"
import { makeOrphanRun } from "./OrphanRun.ts"

type Key = Pick<TableKey, "namespace" | "layer" | "name">

export const MaintenanceHttp = HttpApiBuilder.group(
  Api,
  "maintenance",
  Effect.fn(function* (handlers) {
    const repository = yield* MaintenanceRepository
    const settings = yield* MaintenanceSettings
    const runner = yield* RunnerClient
    const catalog = yield* Catalog
    const tables = yield* IcebergTable
    const orphans = yield* makeOrphanRun

    const pointerOf = Effect.fnUntraced(function* (key: Key) {
      const table = new TableKey(key)
      const found = yield* catalog.table(mainRef, table)
      return found ?? (yield* new TableNotFound({ table: table.toString(), ref: mainRef }))
    })

    const policyOf = Effect.fnUntraced(function* (key: Key) {
      const { metadataLocation } = yield* pointerOf(key)
      const pipeline = pipelinePolicy(yield* tables.load(metadataLocation))
      const table = yield* repository.policy(key)
      return { policy: maintenancePolicyOf(settings.policy, pipeline, table), pipeline, table }
    })

    return handlers.handleAll({
      list: ({ query }) =>
        wired(repository.list({ kind: query.kind, status: query.status, table: query.table, ...pageOf(query) })),
      get: ({ params }) => wired(repository.find(params.id)),
      maintain: ({ params, payload }) =>
        wired(
          Effect.gen(function* () {
            yield* pointerOf(params)
            const operations = payload.operations ?? tableOperations
            if (payload.dry_run === true) {
              return yield* runner.Maintain({
                id: MaintenanceId.make(SecureRandom.uuidV7Unsafe()),
                table: new TableKey(params),
                operations,
                defaults: settings.policy,
                overrides: yield* repository.policy(params),
                isManual: true,
                dryRun: true,
              })
            }
            const id = yield* repository.submit({ kind: "table", table: params, operations, trigger: "manual" })
            return { id, status: "queued" as const }
          }),
        ),
      orphans: ({ payload }) =>
        wired(
          Effect.gen(function* () {
            if (payload.dry_run === true) return yield* orphans(true)
            const id = yield* repository.submit({ kind: "orphans", table: null, operations: [], trigger: "manual" })
            return { id, status: "queued" as const }
          }),
        ),
      policy: ({ params }) => wired(policyOf(params)),
      setPolicy: ({ params, payload }) =>
        wired(
          Effect.gen(function* () {
            yield* pointerOf(params)
            yield* repository.setPolicy(params, payload)
            return yield* policyOf(params)
          }),
        ),
    })
  }),
)
