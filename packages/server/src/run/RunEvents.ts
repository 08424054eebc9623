import type { SqlClient } from "effect/sql"

/**
 * Appends one outbox row for each row of `rows` (a CTE with columns of `run`), in the statement that changes the runs:
 * a status and its event commit together.
 */
export const announce = (sql: SqlClient.SqlClient, rows: "inserted" | "claimed" | "ended" | "requeued") =>
  sql.literal(`
    insert into outbox (key, type, namespace, payload)
    select
      e.id::text,
      'run.' || e.status,
      e.namespace,
      jsonb_build_object(
        'run_id', e.id, 'kind', e.kind, 'status', e.status, 'attempt', e.attempt, 'trigger', e.trigger,
        'pipeline_id', e.pipeline_id, 'layer', e.layer, 'pipeline', e.pipeline,
        'error', e.error, 'error_code', e.error_code, 'rows_written', e.rows_written, 'snapshot_id', e.snapshot_id)
    from ${rows} e
    order by e.id`)
