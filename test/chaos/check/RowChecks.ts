import type { Database } from "../Database.ts"

/**
 * What the database must not hold once everything is at rest. Each statement finds rows that should not be there; the name says
 * what is wrong with them.
 */
const checks = {
  "runs have not ended": `select id, status, phase, attempt from run where status not in ('succeeded', 'failed', 'cancelled')`,
  "ended runs hold a lease": `
    select id, status, lease_owner, lease_expires_at from run
    where finished_at is null or lease_owner is not null or lease_expires_at is not null or publishing is not null`,
  "attempts are open": `select run_id, attempt, owner from run_attempt where ended_at is null or outcome is null`,
  "attempts are not numbered from one": `
    select r.id, r.attempt, count(a.attempt) from run r left join run_attempt a on a.run_id = r.id
    group by r.id, r.attempt
    having count(a.attempt) <> r.attempt or coalesce(max(a.attempt), 0) <> r.attempt`,
  "attempts began before the one before had ended": `
    select a.run_id, a.attempt, a.outcome, a.ended_at, b.started_at from run_attempt a
    join run_attempt b on b.run_id = a.run_id and b.attempt = a.attempt + 1
    where b.started_at < a.ended_at or a.outcome not in ('lost', 'failed', 'handed_over') or b.fencing_token <= a.fencing_token`,
  "last attempts do not end with their run's status": `
    select r.id, r.status, a.outcome from run r
    join run_attempt a on a.run_id = r.id and a.attempt = r.attempt
    where a.outcome <> r.status and not (r.status in ('failed', 'cancelled') and a.outcome in ('lost', 'failed', 'handed_over'))`,
  "runs succeeded or failed without an attempt": `
    select id, status from run where status in ('succeeded', 'failed') and attempt = 0`,
  "successful runs do not have exactly one commit on main": `
    select r.id, count(k.id) as commits from run r
    left join catalog_commit k on k.run_id = r.id::text and k.ref_id = 0
    where r.status = 'succeeded' and r.kind = 'pipeline' group by r.id having count(k.id) <> 1`,
  "runs that did not succeed have a commit on main": `
    select r.id, r.status from run r join catalog_commit k on k.run_id = r.id::text and k.ref_id = 0
    where r.status <> 'succeeded'`,
  "commits on main belong to no run": `
    select k.id, k.run_id, k.author, k.message from catalog_commit k
    where k.ref_id = 0 and k.author <> 'maintenance' and not exists (select from run r where r.id::text = k.run_id)`,
  "commits do not carry the snapshot that their run names": `
    select r.id, r.snapshot_id, v.snapshot_id as published from run r
    join catalog_commit k on k.run_id = r.id::text and k.ref_id = 0
    join catalog_version v on v.commit_id = k.id
    where r.snapshot_id is distinct from v.snapshot_id`,
  "branches belong to no failed or cancelled run": `
    select b.name from catalog_ref b left join run r on r.id::text = b.run_id
    where b.id <> 0 and (r.id is null or r.status not in ('failed', 'cancelled'))`,
  "branches never expire": `
    select b.name, r.status, r.branch from catalog_ref b left join run r on r.id::text = b.run_id
    where b.id <> 0 and b.expires_at is null and (r.branch is null or r.branch_expires_at is null)`,
  "branches expired more than a minute ago": `
    select b.name, b.expires_at from catalog_ref b left join run r on r.id::text = b.run_id
    where b.id <> 0 and least(b.expires_at, r.branch_expires_at) < now() - interval '65 seconds'`,
  "rows belong to a branch that has ended": `
    select ref_id from catalog_override where ref_id not in (select id from catalog_ref)
    union all select ref_id from catalog_commit where ref_id not in (select id from catalog_ref)`,
  "maintenance has not ended": `
    select id, kind, name, status, node from maintenance_run where status = 'running' and lease_expires_at < now()`,
  "events are still in the outbox": `select id, type from outbox`,
  "the event log has gaps": `
    select "offset" from (select "offset", lag("offset", 1, 0::bigint) over (order by "offset") as before from event) e
    where "offset" <> before + 1`,
  "the event log does not end at its head": `
    select h.last_offset from event_head h where h.last_offset <> (select coalesce(max("offset"), 0) from event)`,
  "commits on main do not have exactly one event": `
    select k.id, count(e."offset") as events from catalog_commit k
    left join event e on e.type in ('table.published', 'table.maintained') and e.payload->>'commit_id' = k.id::text
    where k.ref_id = 0 group by k.id having count(e."offset") <> 1`,
  "log lines are not numbered from one": `
    select run_id, max(seq) as last, count(*) as lines from run_log group by run_id having max(seq) <> count(*)`,
  "sessions hang in a transaction": `
    select pid, application_name, left(query, 80) as query from pg_stat_activity
    where state like 'idle in transaction%' and state_change < now() - interval '5 seconds'`,
} as const

/** Checks of tables that only some versions of the schema have. */
const optional = {
  run_checkpoint: {
    "checkpoints belong to runs that succeeded": `
    select c.run_id from run_checkpoint c join run r on r.id = c.run_id where r.status = 'succeeded'`,
  },
  node: {
    "nodes that are gone are still in the registry": `
    select id, heartbeat_at from node where heartbeat_at < now() - interval '60 seconds'`,
  },
  run_queue: { "rows are left in the queue": `select * from run_queue` },
} as const

const few = 3

const complaintOf = (what: string, rows: ReadonlyArray<object>) => {
  const shown = rows
    .slice(0, few)
    .map((row) => JSON.stringify(row, (_, value) => (typeof value === "bigint" ? `${value}` : value)))
  return `${rows.length}: ${what}: ${shown.join(" ")}`
}

export const checkRows = async (database: Database): Promise<ReadonlyArray<string>> => {
  const complaints: Array<string> = []
  const look = async (all: Readonly<Record<string, string>>) => {
    for (const [what, statement] of Object.entries(all)) {
      const rows = await database.rows(statement)
      if (rows.length > 0) complaints.push(complaintOf(what, rows))
    }
  }
  await look(checks)
  for (const [table, all] of Object.entries(optional)) {
    const [found] = await database.rows<{ readonly exists: boolean }>(
      "select exists (select from pg_class where relname = $1 and relkind in ('r', 'p')) as exists",
      [table],
    )
    if (found?.exists === true) await look(all)
  }
  return complaints
}
