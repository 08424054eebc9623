import type { Lease, LogEntry } from "@rat/domain"
import type { SqlClient } from "effect/sql"

/** Characters kept of one log line. */
const maxMessageLength = 16_384

/** Log lines of an attempt as `writeLines` takes them. */
export const linesOf = (lease: Lease, logs: ReadonlyArray<LogEntry>) =>
  logs.map((entry) => ({
    run_id: lease.runId,
    token: lease.fencingToken.toString(),
    seq: entry.seq,
    at: entry.timestamp,
    level: entry.level,
    phase: entry.phase ?? null,
    message: entry.message.slice(0, maxMessageLength),
  }))

/**
 * Stores lines of attempts whose token is the one in `held` (a CTE with `id`, `attempt`, `log_base` and `fencing_token` of the
 * run). A line that is there already is left as it is; the last one that a log may have says that it is the last.
 */
export const writeLines = (
  sql: SqlClient.SqlClient,
  lines: string,
  options: { readonly held: "held" | "ended"; readonly maxLogLines: number },
) => sql`
  insert into run_log (run_id, seq, attempt, at, level, phase, message)
  select
    h.id, h.log_base + l.seq, h.attempt, l.at,
    case when h.log_base + l.seq = ${options.maxLogLines}::integer then 'warn' else l.level end,
    l.phase,
    case
      when h.log_base + l.seq = ${options.maxLogLines}::integer
      then 'The log reached its limit of ' || ${options.maxLogLines}::integer || ' lines; later lines are dropped.'
      else l.message
    end
  from jsonb_to_recordset(${lines}::jsonb) as l (
    run_id uuid, token bigint, seq integer, at timestamptz, level text, phase text, message text)
  join ${sql.literal(options.held)} h on h.id = l.run_id and h.fencing_token = l.token
  where h.log_base + l.seq <= ${options.maxLogLines}::integer
  on conflict (run_id, seq) do nothing`
