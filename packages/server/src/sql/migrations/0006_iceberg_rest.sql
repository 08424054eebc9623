-- What the Iceberg REST protocol keeps besides the catalog. `server/iceberg-rest` is the only writer.

-- Properties that clients gave namespaces. An empty layer stands for the namespace itself.
create table iceberg_namespace (
  namespace text collate "C" not null references namespace (name) on delete cascade,
  layer text not null check (layer in ('', 'bronze', 'silver', 'gold')),
  properties jsonb not null,
  primary key (namespace, layer)
);

-- Where each view stands: the metadata file is the view. Views are not branched: every branch and tag sees the same.
create table iceberg_view (
  namespace text collate "C" not null references namespace (name) on delete cascade,
  layer text not null check (layer in ('bronze', 'silver', 'gold')),
  name text collate "C" not null,
  metadata_location text not null,
  updated_at timestamptz not null default now(),
  primary key (namespace, layer, name)
);

-- Requests with an `Idempotency-Key`. Without a status the request is being worked on, or its node died over it.
create table iceberg_request (
  key uuid primary key,
  -- SHA-256 over method, address and body: a key belongs to one request.
  request text not null,
  status integer,
  answer text,
  claimed_at timestamptz not null default clock_timestamp(),
  created_at timestamptz not null default clock_timestamp()
);
create index iceberg_request_created on iceberg_request (created_at);
