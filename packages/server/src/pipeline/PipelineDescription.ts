import type { SqlClient } from "effect/sql"

/**
 * Gives pipelines the descriptions that their code has, in the statement that ends their runs: CTEs `ended` (rows of
 * `run`) and `input` (`id` of the run, `description`). Code that says nothing leaves what was said through the API.
 */
export const describePipelines = (sql: SqlClient.SqlClient) =>
  sql.literal(`
    update pipeline p
    set description = i.description, updated_at = now()
    from ended e
    join input i on i.id = e.id
    where p.id = e.pipeline_id and i.description <> '' and p.description <> i.description`)
