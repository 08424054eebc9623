import { Effect } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import { toJsonb } from "../sql/Jsonb.ts"
import { MaintenanceSettings } from "./MaintenanceSettings.ts"

/** Tables that one look puts into the queue. */
const maxDue = 100

/** Finds out what is due. Reads the catalog's and runs' rows; `wake` tells workers. */
export const makeDue = Effect.fnUntraced(function* (wake: Effect.Effect<void>) {
  const sql = yield* SqlClient.SqlClient
  const settings = yield* MaintenanceSettings

  /**
   * Puts tables into the queue whose time has come: enough commits to main since they were looked after last, or any commit and
   * long ago. One query over the catalog's rows; no metadata is read. Tables with a run at work wait for its end. Answers with
   * how many.
   */
  const enqueueDue = Effect.fn("MaintenanceRepository.enqueueDue")(function* () {
    const { every_commits, every_hours } = settings.policy
    const ids = Array.from({ length: maxDue }, () => SecureRandom.uuidV7Unsafe())
    const rows = yield* sql<{ readonly id: string }>`
      with candidate as (
        select t.namespace, t.layer, t.name,
          coalesce((m.effective ->> 'every_commits')::integer, ${every_commits}::integer) as every_commits,
          coalesce((m.effective ->> 'every_hours')::integer, ${every_hours}::integer) as every_hours,
          coalesce(m.commit_id, 0) as since,
          m.maintained_at
        from catalog_table t
        left join maintenance_table m on m.namespace = t.namespace and m.layer = t.layer and m.name = t.name
        where t.metadata_location is not null and t.commit_id > coalesce(m.commit_id, 0)
          and coalesce((m.policy ->> 'enabled')::boolean, (m.effective ->> 'enabled')::boolean, true)
          and not exists (
            select from run r
            where r.status = 'running' and r.namespace = t.namespace and r.layer = t.layer and r.pipeline = t.name
          )
      ),
      due as (
        select c.namespace, c.layer, c.name, row_number() over (order by c.maintained_at nulls first) as place
        from candidate c
        cross join lateral (
          select count(*) as commits, min(v.updated_at) as first
          from (
            select v.updated_at
            from catalog_version v
            where v.namespace = c.namespace and v.layer = c.layer and v.name = c.name and v.commit_id > c.since
            limit c.every_commits
          ) v
        ) v
        where v.commits >= c.every_commits
          or coalesce(c.maintained_at, v.first) < now() - make_interval(hours => c.every_hours)
        order by c.maintained_at nulls first, c.namespace, c.layer, c.name
        limit ${maxDue}::integer
      )
      insert into maintenance_run (id, kind, namespace, layer, name, operations, trigger)
      select i.id::uuid, 'table', d.namespace, d.layer, d.name, '{compact,manifests,expire}', 'policy'
      from due d
      join jsonb_array_elements_text(${toJsonb(ids)}::jsonb) with ordinality as i (id, place) on i.place = d.place
      on conflict do nothing
      returning id`
    if (rows.length > 0) yield* wake
    return rows.length
  })

  const enqueueOrphans = Effect.fn("MaintenanceRepository.enqueueOrphans")(function* () {
    const rows = yield* sql`
      insert into maintenance_run (id, kind, operations, trigger)
      select ${SecureRandom.uuidV7Unsafe()}::uuid, 'orphans', '{}', 'policy'
      where not exists (
        select from maintenance_run
        where kind = 'orphans'
          and coalesce(finished_at, now()) > now() - make_interval(hours => ${settings.orphanIntervalHours}::integer)
      )
      on conflict do nothing
      returning id`
    if (rows.length > 0) yield* wake
    return rows.length
  })

  return { enqueueDue, enqueueOrphans }
})
