-- Namespaces, pipelines and the life of runs. Text that is compared or sorted by code is in collation "C".
create table namespace (
  name text collate "C" primary key,
  description text not null default '',
  created_by text,
  created_at timestamptz not null default now()
);

insert into namespace (name, description) values ('default', 'The namespace that is always there.');

create table pipeline (
  id uuid primary key,
  -- A namespace that holds live pipelines is not deleted; rows of pipelines deleted before go with it.
  namespace text collate "C" not null references namespace (name) on delete cascade,
  layer text not null check (layer in ('bronze', 'silver', 'gold')),
  name text collate "C" not null,
  type text not null check (type in ('sql', 'python')),
  description text not null default '',
  owner text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);

create unique index pipeline_key on pipeline (namespace, layer, name) where deleted_at is null;
create index pipeline_deleted on pipeline (deleted_at) where deleted_at is not null;

-- One row a run; `server/run/RunRepository` is its only writer. Names are copied from the pipeline, so that history
-- outlives it, and the code is the map path -> hash as it was when the run was accepted.
create table run (
  id uuid primary key,
  kind text not null check (kind in ('pipeline', 'noop')),
  namespace text collate "C" not null,
  pipeline_id uuid,
  layer text,
  pipeline text collate "C",
  pipeline_type text,
  status text not null default 'queued' check (status in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  trigger text not null check (char_length(trigger) <= 500),
  idempotency_key text,
  traceparent text,
  code_version text,
  code_files jsonb not null default '[]',
  attempt integer not null default 0,
  fencing_token bigint not null default 0,
  lease_owner text,
  lease_expires_at timestamptz,
  -- Log lines of earlier attempts: an attempt numbers its lines from one, the run goes on counting.
  log_base integer not null default 0,
  phase text,
  phases jsonb not null default '[]',
  error text,
  error_code text,
  rows_written bigint,
  snapshot_id text,
  landing_file_ids jsonb not null default '[]',
  branch text,
  branch_expires_at timestamptz,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  finished_at timestamptz,
  check ((kind = 'pipeline') = (pipeline_id is not null)),
  check ((status = 'running') = (lease_owner is not null)),
  check ((status in ('succeeded', 'failed', 'cancelled')) = (finished_at is not null))
) with (
  -- Every run leaves the small indexes below twice: their dead entries must not pile up.
  autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.05
);

-- Claims read these only, however many finished runs there are. The pipeline's comes first: while the queue is empty all
-- plans cost the same, and of equal ones Postgres keeps the one with the older index.
create index run_queue_pipeline on run (pipeline_id, id) where status = 'queued' and pipeline_id is not null;
create index run_queue on run (namespace, id) where status = 'queued';
create index run_lease on run (lease_expires_at) where status = 'running';
-- One active run per pipeline.
create unique index run_active on run (pipeline_id) where status = 'running';
create unique index run_idempotency on run (namespace, idempotency_key) where idempotency_key is not null;
create index run_branch on run (branch_expires_at) where branch is not null and branch_expires_at is not null;
-- Lists: UUIDv7 sorts by creation.
create index run_namespace on run (namespace, id);
create index run_pipeline on run (pipeline_id, id) where pipeline_id is not null;

create table run_attempt (
  run_id uuid not null references run (id) on delete cascade,
  attempt integer not null,
  fencing_token bigint not null,
  owner text not null,
  started_at timestamptz not null,
  ended_at timestamptz,
  outcome text check (outcome in ('succeeded', 'failed', 'cancelled', 'lost')),
  primary key (run_id, attempt)
);

create table run_log (
  run_id uuid not null references run (id) on delete cascade,
  -- Rises by one within the run, over all its attempts.
  seq integer not null,
  attempt integer not null,
  at timestamptz not null,
  level text not null,
  phase text,
  message text not null,
  primary key (run_id, seq)
);

create table quality_result (
  run_id uuid not null references run (id) on delete cascade,
  name text collate "C" not null,
  pipeline_id uuid,
  status text not null,
  severity text not null,
  description text not null,
  tags jsonb not null,
  remediation text not null,
  violations bigint,
  sample_columns jsonb not null,
  sample_rows jsonb not null,
  error text,
  duration_ms double precision not null,
  primary key (run_id, name)
);

create index quality_result_test on quality_result (pipeline_id, name, run_id);
