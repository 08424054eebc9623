-- What a run is about, retries, and each attempt for people to see.
alter table run
  add column parameters jsonb not null default '{}',
  -- Null: the moment at which the run was created.
  add column logical_time timestamptz,
  -- The run that this one repeats. It may be gone by now.
  add column retry_of uuid,
  -- Attempts that failed, or met an outage, and were followed by another one. Lost ones are the rest of `attempt`.
  add column failures integer not null default 0,
  add column outages integer not null default 0;

alter table run_attempt
  add column phase text,
  add column phases jsonb not null default '[]',
  add column error text,
  add column error_code text,
  -- When the next attempt may begin, where one follows because of how this one ended.
  add column if not exists retry_at timestamptz;

-- How far the newest attempt of a run has come, for the next one to go on from. Runs that end well leave none; those of others
-- stay as long as their branch.
create table run_checkpoint (
  run_id uuid primary key references run (id) on delete cascade,
  attempt integer not null,
  checkpoint jsonb not null,
  updated_at timestamptz not null default now()
);
