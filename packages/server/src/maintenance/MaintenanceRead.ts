import {
  type MaintenanceKind,
  MaintenanceNotFound,
  type MaintenancePolicyPart,
  type MaintenanceStatus,
  type TableKey,
} from "@rat/domain"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { toJsonb } from "../sql/Jsonb.ts"
import { type MaintenanceRow, maintenanceColumns, toMaintenanceRun } from "./MaintenanceRow.ts"

type Key = Pick<TableKey, "namespace" | "layer" | "name">

export interface MaintenanceFilter {
  readonly kind?: MaintenanceKind | undefined
  readonly status?: MaintenanceStatus | undefined
  /** `namespace.layer.name`. */
  readonly table?: string | undefined
}

/** History, and what was said of tables through the API. */
export const makeRead = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const columns = sql.literal(maintenanceColumns)

  const list = Effect.fn("MaintenanceRepository.list")(function* (
    filter: MaintenanceFilter & { readonly limit: number; readonly offset: number },
  ) {
    const [namespace, layer, name] = filter.table?.split(".") ?? []
    const where = sql.and([
      filter.kind === undefined ? "true" : sql`kind = ${filter.kind}`,
      filter.status === undefined ? "true" : sql`status = ${filter.status}`,
      filter.table === undefined
        ? "true"
        : sql`namespace = ${namespace ?? ""} and layer = ${layer ?? ""} and name = ${name ?? ""}`,
    ])
    const rows = yield* sql<MaintenanceRow>`
      select ${columns}
      from maintenance_run
      where ${where}
      order by id desc
      limit ${filter.limit} offset ${filter.offset}`
    const [count] = yield* sql<{ readonly n: bigint }>`select count(*) as n from maintenance_run where ${where}`
    return { runs: rows.map(toMaintenanceRun), total: Number(count?.n ?? 0) }
  })

  const find = Effect.fn("MaintenanceRepository.find")(function* (id: string) {
    const rows = yield* sql<MaintenanceRow>`select ${columns} from maintenance_run where id::text = ${id}`
    if (rows[0] === undefined) return yield* new MaintenanceNotFound({ id })
    return toMaintenanceRun(rows[0])
  })

  /** Keys set through the API; null where there are none. */
  const policy = Effect.fn("MaintenanceRepository.policy")(function* ({ layer, name, namespace }: Key) {
    const rows = yield* sql<{ readonly policy: MaintenancePolicyPart | null }>`
      select policy
      from maintenance_table
      where namespace = ${namespace} and layer = ${layer} and name = ${name}`
    return rows[0]?.policy ?? null
  })

  /** Replaces them; an empty part removes them. */
  const setPolicy = Effect.fn("MaintenanceRepository.setPolicy")(function* (key: Key, part: MaintenancePolicyPart) {
    const text = Object.keys(part).length === 0 ? null : toJsonb(part)
    yield* sql`
      insert into maintenance_table as m (namespace, layer, name, policy)
      values (${key.namespace}, ${key.layer}, ${key.name}, ${text}::jsonb)
      on conflict (namespace, layer, name) do update
      set policy = excluded.policy`
  })

  return { list, find, policy, setPolicy }
})
