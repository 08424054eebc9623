-- Runs of maintenance, one row each; `server/maintenance/MaintenanceRepository` is the only writer of both tables.
create table maintenance_run (
  id uuid primary key,
  kind text not null check (kind in ('table', 'orphans')),
  namespace text collate "C",
  layer text,
  name text collate "C",
  operations text[] not null,
  trigger text not null check (trigger in ('policy', 'manual')),
  status text not null default 'queued' check (status in ('queued', 'running', 'succeeded', 'failed')),
  attempt integer not null default 0,
  -- The node at work; its lease is renewed while it lives.
  node text,
  lease_expires_at timestamptz,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  finished_at timestamptz,
  files_before bigint,
  files_after bigint,
  rows_before bigint,
  rows_after bigint,
  bytes_before bigint,
  bytes_after bigint,
  report jsonb,
  error text,
  check ((kind = 'table') = (name is not null)),
  check ((status = 'running') = (lease_expires_at is not null)),
  check ((status in ('succeeded', 'failed')) = (finished_at is not null))
);

-- One at a time for each table, and one removal of orphans.
create unique index maintenance_run_table on maintenance_run (namespace, layer, name)
  where kind = 'table' and status in ('queued', 'running');
create unique index maintenance_run_orphans on maintenance_run (kind)
  where kind = 'orphans' and status in ('queued', 'running');
create index maintenance_run_queue on maintenance_run (id) where status = 'queued';
create index maintenance_run_lease on maintenance_run (lease_expires_at) where status = 'running';
create index maintenance_run_history on maintenance_run (namespace, layer, name, id);

-- What is known of tables: when they were looked after, and how they are to be.
create table maintenance_table (
  namespace text collate "C" not null,
  layer text not null,
  name text collate "C" not null,
  -- Keys set through the API; null where nobody said anything.
  policy jsonb,
  -- What held when the table was looked after last: defaults, pipeline and API together.
  effective jsonb,
  -- The table's newest commit on main then.
  commit_id bigint not null default 0,
  maintained_at timestamptz,
  primary key (namespace, layer, name)
);

-- Objects that nothing points to, since when; `server/maintenance/OrphanRepository` is the only writer.
create table maintenance_orphan (
  key text collate "C" primary key,
  size_bytes bigint not null,
  modified timestamptz not null,
  first_seen timestamptz not null,
  -- The sweep that saw it last.
  sweep uuid not null
);
