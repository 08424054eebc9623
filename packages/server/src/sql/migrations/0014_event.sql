-- The event log for many readers: consumers that can be looked at and set back, retention that says what it removed, and events for
-- every change that a cached answer depends on.

-- Offsets up to this one may be gone: pruned. A reader further back has missed something and must be told.
alter table event_head add column pruned_to bigint not null default 0;
update event_head set pruned_to = coalesce((select min("offset") - 1 from event), last_offset);

alter table event_consumer
  -- Rises when a person moves the offset; a worker that began before does not store its own any more.
  add column generation integer not null default 0,
  -- The node that works for it, or did last.
  add column node text,
  -- The event whose handler fails, since when, how often, and why.
  add column failing_offset bigint,
  add column failing_since timestamptz,
  add column failures integer not null default 0,
  add column last_error text,
  add column next_try_at timestamptz,
  -- Events that retention removed before they were handled.
  add column missed bigint not null default 0;

-- Deletes events from before p_before and all but the newest p_keep (null: any number), at most p_limit of them.
create function event_prune(p_before timestamptz, p_keep bigint, p_limit integer) returns bigint
language plpgsql as $$
declare
  v_to bigint;
  v_pruned bigint;
begin
  select greatest(
    -- Only the oldest page is looked at: a scan for old events would read the whole log when there are none.
    (select max(page."offset")
     from (select "offset", at from event order by "offset" limit p_limit) page
     where page.at < p_before),
    (select max(page."offset")
     from (select "offset" from event order by "offset" limit p_limit) page
     where page."offset" <= h.last_offset - p_keep))
  into v_to
  from event_head h;
  if v_to is null or v_to <= 0 then
    return 0;
  end if;
  -- Said before it is done: who reads both sees a gap where there is none rather than none where there is one.
  update event_head set pruned_to = greatest(pruned_to, v_to);
  delete from event where "offset" <= v_to;
  get diagnostics v_pruned = row_count;
  return v_pruned;
end $$;

-- What the version before calls.
create or replace function event_prune(p_before timestamptz, p_limit integer) returns bigint
language sql as $$
  select event_prune(p_before, null, p_limit)
$$;

-- Changes that no writer may forget to tell of, whoever makes them. They are rare; runs and their branches are not among them.

create function event_of_namespace() returns trigger
language plpgsql as $$
declare
  v_name text := case when tg_op = 'DELETE' then old.name else new.name end;
begin
  insert into outbox (key, type, namespace, payload)
  values (
    v_name,
    'namespace.' || case tg_op when 'INSERT' then 'created' when 'UPDATE' then 'updated' else 'deleted' end,
    v_name,
    jsonb_build_object('namespace', v_name));
  return null;
end $$;
create trigger event_of_namespace after insert or update or delete on namespace
  for each row execute function event_of_namespace();

create function event_of_landing_zone() returns trigger
language plpgsql as $$
declare
  v_row landing_zone := case when tg_op = 'DELETE' then old else new end;
begin
  insert into outbox (key, type, namespace, payload)
  values (
    v_row.namespace || '/landing/' || v_row.name,
    'landing.zone_' || case tg_op when 'INSERT' then 'created' when 'UPDATE' then 'updated' else 'deleted' end,
    v_row.namespace,
    jsonb_build_object('zone', v_row.name));
  return null;
end $$;
create trigger event_of_landing_zone after insert or update or delete on landing_zone
  for each row execute function event_of_landing_zone();

create function event_of_landing_file() returns trigger
language plpgsql as $$
begin
  insert into outbox (key, type, namespace, payload)
  values (
    old.object_key,
    'landing.deleted',
    split_part(old.object_key, '/', 1),
    jsonb_build_object('file_id', old.id, 'filename', old.filename));
  return null;
end $$;
create trigger event_of_landing_file after delete on landing_file
  for each row when (old.uploaded_at is not null) execute function event_of_landing_file();

create function event_of_table_metadata() returns trigger
language plpgsql as $$
declare
  v_row table_metadata := case when tg_op = 'DELETE' then old else new end;
  v_table text := concat_ws('.', v_row.namespace, v_row.layer, v_row.name);
begin
  insert into outbox (key, type, namespace, payload)
  values (v_table, 'table.described', v_row.namespace, jsonb_build_object('table', v_table));
  return null;
end $$;
create trigger event_of_table_metadata after insert or update or delete on table_metadata
  for each row execute function event_of_table_metadata();

-- Descriptions that runs take from code; those of people are told of by their writer.
create function event_of_pipeline_description() returns trigger
language plpgsql as $$
begin
  insert into outbox (key, type, namespace, payload)
  values (
    new.id::text,
    'pipeline.described',
    new.namespace,
    jsonb_build_object('pipeline_id', new.id, 'namespace', new.namespace, 'layer', new.layer, 'name', new.name));
  return null;
end $$;
create trigger event_of_pipeline_description after update on pipeline
  for each row when (old.description <> new.description) execute function event_of_pipeline_description();

-- Branches and tags are in no namespace.
create function event_of_ref() returns trigger
language plpgsql as $$
declare
  v_row catalog_ref := case when tg_op = 'DELETE' then old else new end;
begin
  insert into outbox (key, type, namespace, payload)
  values (
    v_row.name,
    v_row.kind || case tg_op when 'INSERT' then '.created' when 'UPDATE' then '.updated' else '.deleted' end,
    '',
    jsonb_build_object('ref', v_row.name));
  return null;
end $$;
create trigger event_of_new_ref after insert or update on catalog_ref
  for each row when (new.run_id is null and new.id <> 0) execute function event_of_ref();
create trigger event_of_old_ref after delete on catalog_ref
  for each row when (old.run_id is null and old.id <> 0) execute function event_of_ref();

-- A branch's commits, unless a run makes them; and main's by maintenance. Main's other moves are told of by who makes them.
create function event_of_commit() returns trigger
language plpgsql as $$
begin
  if new.ref_id = 0 then
    insert into outbox (key, type, namespace, payload)
    select t.name, 'table.maintained', split_part(t.name, '.', 1),
      jsonb_build_object('table', t.name, 'commit_id', new.id::text)
    from unnest(new.tables) with ordinality t (name, place)
    order by t.place;
  else
    insert into outbox (key, type, namespace, payload)
    select r.name, 'branch.updated', '', jsonb_build_object('ref', r.name, 'commit_id', new.id::text)
    from catalog_ref r
    where r.id = new.ref_id and r.run_id is null;
  end if;
  return null;
end $$;
create trigger event_of_branch_commit after insert on catalog_commit
  for each row when (new.ref_id <> 0 and new.run_id is null) execute function event_of_commit();
create trigger event_of_maintenance_commit after insert on catalog_commit
  for each row when (new.ref_id = 0 and new.author = 'maintenance') execute function event_of_commit();
