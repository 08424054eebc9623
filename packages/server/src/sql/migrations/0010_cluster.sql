-- Nodes of the cluster. Each writes its own row only; control nodes delete rows of nodes that are gone.
create sequence node_number;

create table node (
  id text collate "C" primary key,
  -- Number of the advisory lock that the node's session holds for as long as the node lives; also its machine id.
  number bigint not null unique,
  roles text[] not null,
  status text not null check (status in ('ready', 'draining')),
  version text not null,
  schema_version integer not null,
  url text not null,
  rpc_host text,
  rpc_port integer,
  -- Runs in hand, slots by role, shards: for people, as of the last heartbeat.
  load jsonb not null default '{}',
  started_at timestamptz not null default now(),
  heartbeat_at timestamptz not null default now(),
  check ((rpc_host is null) = (rpc_port is null))
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);

-- The key by which nodes know each other, made by the first one. Who may read this database may join anyway.
create table cluster_key (
  is_only boolean primary key default true check (is_only),
  key bytea not null check (octet_length(key) = 32)
);
