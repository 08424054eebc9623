import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Pg, PgConfig } from "@rat/lakehouse"
import { ConfigProvider, Effect, Layer, Redacted, References } from "effect"
import { SqlClient } from "effect/sql"

/** What the database of a node says at rest, as complaints: none when nothing is lost, doubled or left over. */

export interface RunRecord {
  readonly id: string
  readonly pipeline: string
  readonly status: string
  readonly rows_written: bigint | null
  readonly idempotency_key: string | null
  readonly attempt: number
}

interface Ledger {
  readonly runs: ReadonlyArray<RunRecord>
  readonly complaints: ReadonlyArray<string>
  /** Of each table, the run of the newest commit. */
  readonly newest: ReadonlyMap<string, string>
}

/** The embedded Postgres of a data folder. */
const database = (data: string) => {
  const text = (name: string) => readFileSync(join(data, "postgres", name), "utf8").trim()
  const url = `postgres://rat:${text("password")}@127.0.0.1:${text("port")}/postgres`
  return Pg.layer.pipe(
    Layer.provide(PgConfig.layerUrl(Redacted.make(url))),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { DB_MAX_CONNS: "1", DB_MIN_CONNS: "1" } }))),
  )
}

/** Each statement finds what must not be. */
const checks = {
  "runs have not ended": `select id, status from run where finished_at is null`,
  "attempts are open": `select run_id, attempt from run_attempt where ended_at is null`,
  "attempts of an ended run do not end with its status": `
    select r.id, r.status, a.outcome from run r
    join run_attempt a on a.run_id = r.id and a.attempt = r.attempt
    where a.outcome is distinct from r.status and not (r.status = 'failed' and a.outcome = 'lost')
      and not (r.status = 'cancelled' and a.outcome = 'lost')`,
  "attempts are not numbered from one": `
    select r.id from run r left join run_attempt a on a.run_id = r.id
    group by r.id, r.attempt
    having count(a.attempt) <> r.attempt or coalesce(max(a.attempt), 0) <> r.attempt`,
  "successful runs do not have exactly one commit on main": `
    select r.id, count(k.id) as commits from run r
    left join catalog_commit k on k.run_id = r.id::text and k.ref_id = 0
    where r.status = 'succeeded' and r.kind = 'pipeline' group by r.id having count(k.id) <> 1`,
  "runs that did not succeed have a commit on main": `
    select r.id, r.status from run r join catalog_commit k on k.run_id = r.id::text and k.ref_id = 0
    where r.status <> 'succeeded'`,
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
  "rows belong to a branch that has ended": `
    select ref_id from catalog_override where ref_id not in (select id from catalog_ref)
    union all select ref_id from catalog_commit where ref_id not in (select id from catalog_ref)`,
  "events are still in the outbox": `select id, type from outbox`,
  "the event log has gaps": `
    select "offset" from (select "offset", lag("offset", 1, 0::bigint) over (order by "offset") as before from event) e
    where "offset" <> before + 1`,
  "the event log does not end at its head": `
    select h.last_offset from event_head h where h.last_offset <> (select coalesce(max("offset"), 0) from event)`,
  "runs do not have exactly one terminal event": `
    select r.id, r.status, array_agg(e.type order by e."offset") as events from run r
    left join event e on e.key = r.id::text group by r.id
    having count(*) filter (where e.type in ('run.succeeded', 'run.failed', 'run.cancelled')) <> 1
      or (array_agg(e.type order by e."offset"))[count(*)] <> 'run.' || r.status
      or (array_agg(e.type order by e."offset"))[1] <> 'run.queued'`,
  "published tables do not have exactly one event": `
    select k.id from catalog_commit k
    left join event e on e.type = 'table.published' and e.payload->>'commit_id' = k.id::text
    where k.ref_id = 0 group by k.id having count(e."offset") <> 1`,
  "log lines are not numbered from one": `
    select run_id, max(seq) as last, count(*) as lines from run_log group by run_id having max(seq) <> count(*)`,
  "sessions hang in a transaction": `
    select pid, left(query, 80) as query from pg_stat_activity where state like 'idle in transaction%'`,
}

const few = 3

export const readLedger = (data: string): Promise<Ledger> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const complaints: Array<string> = []
    for (const [what, statement] of Object.entries(checks)) {
      const rows = yield* sql.unsafe(statement)
      if (rows.length > 0) {
        const shown = rows
          .slice(0, few)
          .map((row) => JSON.stringify(row, (_, value) => (typeof value === "bigint" ? `${value}` : value)))
        complaints.push(`${rows.length}: ${what}: ${shown.join(" ")}`)
      }
    }
    const runs = yield* sql<RunRecord>`
      select id, pipeline, status, rows_written, idempotency_key, attempt from run order by id`
    const newest = yield* sql<{ readonly name: string; readonly run_id: string }>`
      select t.name, k.run_id from catalog_table t join catalog_commit k on k.id = t.commit_id`
    return { runs, complaints, newest: new Map(newest.map((row) => [row.name, row.run_id])) }
  }).pipe(Effect.provide(database(data)), Effect.provideService(References.MinimumLogLevel, "Error"), Effect.runPromise)
