-- What a Nessie server has no place for. Nessie says which branches and tables there are; a row here without its branch, or a
-- branch without its row, is fine (a crash between both, or somebody else's branch).
create table nessie_ref (
  name text collate "C" primary key,
  run_id text,
  -- Main as the branch began; a merge compares with it.
  base_hash text not null,
  base_commit bigint,
  created_at timestamptz not null default now(),
  expires_at timestamptz
);

create index nessie_ref_expires on nessie_ref (expires_at, name) where expires_at is not null;

-- Sizes of table versions that we wrote. Those of others are read from their metadata file, and so are these once the row is gone.
create table nessie_version (
  metadata_location text collate "C" primary key,
  snapshot_id text,
  row_count bigint not null,
  size_bytes bigint not null,
  written_at timestamptz not null
);

create index nessie_version_written on nessie_version (written_at);
