import type { SqlClient } from "effect/sql"

/**
 * Whether runs wait that the run in row `alias` (of table `run`) may have kept from starting: of its pipeline, of its concurrency key,
 * or of a namespace with a limit of its own. Then nodes with free slots are told of its end; the node that had it looks anyway.
 */
export const hasNext = (sql: SqlClient.SqlClient, alias: "e" | "r") =>
  sql.literal(`(
    exists (select from run_queue n where n.pipeline_id = ${alias}.pipeline_id and n.run_id <> ${alias}.id)
    or (
      ${alias}.concurrency_key <> ''
      and exists (
        select from run_queue n
        where n.namespace = ${alias}.namespace and n.concurrency_key = ${alias}.concurrency_key and n.run_id <> ${alias}.id)
    )
    or (
      (select l.max_running from namespace_limit l where l.namespace = ${alias}.namespace) is not null
      and exists (select from run_queue n where n.namespace = ${alias}.namespace and n.run_id <> ${alias}.id)
    )
  )`)
