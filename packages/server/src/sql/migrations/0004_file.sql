-- Files that people edit. The bytes are content-addressed blobs in the object store.
create table file (
  path text collate "C" primary key,
  namespace text collate "C" not null references namespace (name) on delete cascade,
  hash text not null,
  size_bytes bigint not null,
  modified timestamptz not null
);

create index file_namespace on file (namespace);

create table landing_zone (
  id uuid primary key default gen_random_uuid(),
  namespace text collate "C" not null references namespace (name),
  name text collate "C" not null,
  description text not null default '',
  owner text,
  expected_schema text not null default '',
  auto_purge boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (namespace, name)
);

-- A row without uploaded_at reserves its name while the bytes are on their way; nobody else sees it.
create table landing_file (
  id uuid primary key default gen_random_uuid(),
  zone_id uuid not null references landing_zone (id) on delete cascade,
  filename text not null,
  object_key text collate "C" not null unique,
  size_bytes bigint not null default 0,
  content_type text not null,
  uploaded_by text,
  reserved_at timestamptz not null default now(),
  uploaded_at timestamptz,
  unique (zone_id, filename)
);

create index landing_file_newest on landing_file (zone_id, uploaded_at desc, id) where uploaded_at is not null;

-- What people wrote about tables; independent of the catalog, so a row may be older than its table.
create table table_metadata (
  id uuid primary key default gen_random_uuid(),
  namespace text collate "C" not null,
  layer text not null,
  name text collate "C" not null,
  description text not null default '',
  owner text,
  column_descriptions jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (namespace, layer, name)
);
