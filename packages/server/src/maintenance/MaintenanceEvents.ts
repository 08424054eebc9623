import type { SqlClient } from "effect/sql"

/** Appends events of runs that changed (rows of the CTE `changed`) in the statement that changes them. */
export const announceMaintenance = (sql: SqlClient.SqlClient) =>
  sql.literal(`
      insert into outbox (key, type, namespace, payload)
      select
        coalesce(c.namespace || '.' || c.layer || '.' || c.name, 'orphans'), 'maintenance.' || c.status, coalesce(c.namespace, ''),
        jsonb_build_object(
          'id', c.id, 'kind', c.kind, 'status', c.status, 'trigger', c.trigger, 'attempt', c.attempt, 'operations', c.operations,
          'layer', c.layer, 'table', c.name, 'bytes_before', c.bytes_before, 'bytes_after', c.bytes_after, 'error', c.error)
      from changed c
      where c.status <> 'queued'
      order by c.id`)
