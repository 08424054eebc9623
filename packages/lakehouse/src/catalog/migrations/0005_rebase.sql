-- Changes of a branch may be put upon a newer version of their table (Rebase.ts): a merge then checks that main still has that
-- version, instead of the one that the branch began with.
alter table catalog_override add column rebased_onto text;

-- The branch that a person merged by this commit; a run's is found by the run.
alter table catalog_commit add column branch text;
create index catalog_commit_branch on catalog_commit (branch, id) where branch is not null;

-- Whether the branch still had `p_expected` and now has the rebased version.
create function catalog_rebase(
  p_ref text, p_namespace text, p_layer text, p_name text, p_expected text, p_onto text,
  p_location text, p_snapshot_id text, p_row_count bigint, p_size_bytes bigint
) returns boolean
language plpgsql as $$
begin
  update catalog_override o
  set metadata_location = p_location,
      snapshot_id = p_snapshot_id,
      row_count = p_row_count,
      size_bytes = p_size_bytes,
      rebased_onto = p_onto,
      updated_at = clock_timestamp()
  from catalog_ref r
  where r.name = p_ref and r.kind = 'branch' and r.id <> 0 and o.ref_id = r.id
    and o.namespace = p_namespace and o.layer = p_layer and o.name = p_name
    and o.metadata_location = p_expected;
  return found;
end $$;

create or replace function catalog_merge(p_merges jsonb)
returns table (o_branch text, outcome text, o_id bigint, o_parent bigint, o_at timestamptz, o_message text, o_author text, o_run_id text, o_tables text[])
language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  m record;
  r catalog_ref;
  v_keys jsonb;
  v_id bigint;
  v_at timestamptz;
  v_conflicts text[];
  v_tables text[];
begin
  perform
  from catalog_ref b
  where b.name in (select x->>'branch' from jsonb_array_elements(p_merges) x) and b.kind = 'branch' and b.id <> 0
  order by b.name
  for update;

  select jsonb_agg(jsonb_build_object('namespace', o.namespace, 'layer', o.layer, 'name', o.name))
  into v_keys
  from catalog_ref b
  join catalog_override o on o.ref_id = b.id
  where b.name in (select x->>'branch' from jsonb_array_elements(p_merges) x) and b.kind = 'branch';
  if v_keys is not null then
    perform catalog_lock_tables(v_keys);
  end if;

  for m in
    select x.*
    from jsonb_to_recordset(p_merges) as x(branch text, message text, author text, run_id text)
  loop
    select * into r from catalog_ref where name = m.branch and kind = 'branch' and id <> 0;
    if not found then
      -- A repeated publish of a run, or merge of a branch, finds the branch gone and its commit there.
      return query
        select
          m.branch, 'merged', k.id,
          (select max(p.id) from catalog_commit p where p.ref_id = 0 and p.id < k.id),
          k.committed_at, k.message, k.author, k.run_id, k.tables
        from catalog_commit k
        where k.ref_id = 0 and k.run_id = m.run_id
           or k.ref_id = 0 and m.run_id is null and k.branch = m.branch
        order by k.id desc
        limit 1;
      if not found then
        return query select m.branch, 'missing', null::bigint, null::bigint, null::timestamptz, null, null, null, null::text[];
      end if;
      continue;
    end if;

    select
      array_agg(c.key order by c.key) filter (where not c.is_unmoved),
      coalesce(array_agg(c.key order by c.key), '{}')
    into v_conflicts, v_tables
    from (
      select
        concat_ws('.', o.namespace, o.layer, o.name) as key,
        catalog_sees(r, t.commit_id, t.xid) or coalesce(t.metadata_location = o.rebased_onto, false) as is_unmoved
      from catalog_override o
      join catalog_table t on t.namespace = o.namespace and t.layer = o.layer and t.name = o.name
      where o.ref_id = r.id and o.metadata_location is distinct from t.metadata_location
    ) c;
    if v_conflicts is not null then
      return query select m.branch, 'conflict', null::bigint, null::bigint, null::timestamptz, null, null, null, v_conflicts;
      continue;
    end if;
    if v_tables = '{}' then
      perform catalog_end_ref(r.id);
      return query select m.branch, 'empty', null::bigint, null::bigint, null::timestamptz, null, null, null, null::text[];
      continue;
    end if;

    v_id := nextval('catalog_commit_id');
    v_at := clock_timestamp();
    insert into catalog_commit (id, xid, ref_id, message, author, run_id, committed_at, tables, branch)
    values (
      v_id, pg_current_xact_id(), 0, m.message, m.author, m.run_id, v_at, v_tables,
      case when m.run_id is null then m.branch end
    );
    with moved as (
      update catalog_table t
      set commit_id = v_id,
          xid = pg_current_xact_id(),
          metadata_location = o.metadata_location,
          snapshot_id = o.snapshot_id,
          row_count = o.row_count,
          size_bytes = o.size_bytes,
          updated_at = v_at
      from catalog_override o
      where o.ref_id = r.id
        and t.namespace = o.namespace and t.layer = o.layer and t.name = o.name
        and o.metadata_location is distinct from t.metadata_location
      returning t.*
    )
    insert into catalog_version (
      namespace, layer, name, commit_id, xid, metadata_location, snapshot_id, row_count, size_bytes, updated_at
    )
    select namespace, layer, name, commit_id, xid, metadata_location, snapshot_id, row_count, size_bytes, updated_at
    from moved;
    perform catalog_end_ref(r.id);
    return query
      select
        m.branch, 'merged', v_id,
        (select max(p.id) from catalog_commit p where p.ref_id = 0 and p.id < v_id),
        v_at, m.message, m.author, m.run_id, v_tables;
  end loop;
end $$;

-- A table that was dropped on a branch stays restorable as long as the branch: its last version there.
alter table catalog_override
  add column dropped_location text,
  add column dropped_snapshot_id text,
  add column dropped_row_count bigint,
  add column dropped_size_bytes bigint;

create function catalog_keep_dropped() returns trigger
language plpgsql as $$
begin
  if new.metadata_location is null then
    new.dropped_location := old.metadata_location;
    new.dropped_snapshot_id := old.snapshot_id;
    new.dropped_row_count := old.row_count;
    new.dropped_size_bytes := old.size_bytes;
  else
    new.dropped_location := null;
    new.dropped_snapshot_id := null;
    new.dropped_row_count := null;
    new.dropped_size_bytes := null;
  end if;
  return new;
end $$;
create trigger catalog_override_dropped before update on catalog_override
for each row when (old.metadata_location is distinct from new.metadata_location and old.metadata_location is not null)
execute function catalog_keep_dropped();

-- Versions of main that were replaced before this time may be gone, so commits before it are no states to go back to.
create table catalog_horizon (
  id integer primary key default 0 check (id = 0),
  replaced_before timestamptz not null
);
insert into catalog_horizon (replaced_before) values ('-infinity');

-- What the key's versions look like one by one, `p_limit` at most, after (`p_namespace`, …, `p_commit`); those that were
-- replaced (or dropped) before `p_before` and that no ref sees are deleted. Answers with the last row that was
-- looked at (null: none was left), and how many went.
create function catalog_prune_versions(
  p_before timestamptz, p_namespace text, p_layer text, p_name text, p_commit bigint, p_limit integer
) returns table (o_namespace text, o_layer text, o_name text, o_commit bigint, o_deleted integer)
language plpgsql set enable_seqscan = off as $$
begin
  -- Whoever makes a ref of an older commit waits until its versions are kept or gone.
  perform pg_advisory_xact_lock(hashtext('catalog_horizon'));
  update catalog_horizon set replaced_before = greatest(replaced_before, p_before);
  return query
    with looked_at as materialized (
      select v.namespace, v.layer, v.name, v.commit_id, v.xid
      from catalog_version v
      where (v.namespace, v.layer, v.name, v.commit_id) > (p_namespace, p_layer, p_name, p_commit)
      order by v.namespace, v.layer, v.name, v.commit_id
      limit p_limit
    ), gone as (
      delete from catalog_version v
      using looked_at l
      cross join lateral (
        select n.commit_id, n.xid, n.updated_at
        from catalog_version n
        where n.namespace = l.namespace and n.layer = l.layer and n.name = l.name and n.commit_id > l.commit_id
        order by n.commit_id
        limit 1
      ) n
      where v.namespace = l.namespace and v.layer = l.layer and v.name = l.name and v.commit_id = l.commit_id
        and n.updated_at < p_before
        -- Commits of one table become visible in their order: a ref sees this one as the newest if it does not see the next.
        and not exists (
          select
          from catalog_ref r
          where r.id <> 0 and catalog_sees(r, l.commit_id, l.xid) and not catalog_sees(r, n.commit_id, n.xid)
        )
      returning 1
    )
    select l.namespace, l.layer, l.name, l.commit_id, (select count(*)::integer from gone)
    from looked_at l
    order by l.namespace desc, l.layer desc, l.name desc, l.commit_id desc
    limit 1;
end $$;

-- Commits of main after `p_after`, `p_limit` at most, that are older than `p_before` and of which no version is left, go.
create function catalog_prune_commits(p_before timestamptz, p_after bigint, p_limit integer)
returns table (o_commit bigint, o_deleted integer)
language sql as $$
  with looked_at as materialized (
    select k.id, k.tables, k.committed_at
    from catalog_commit k
    where k.ref_id = 0 and k.id > p_after
    order by k.id
    limit p_limit
  ), gone as (
    delete from catalog_commit k
    using looked_at l
    where k.id = l.id and l.committed_at < p_before and not exists (
      select
      from unnest(l.tables) t
      join catalog_version v
        on v.namespace = split_part(t, '.', 1) and v.layer = split_part(t, '.', 2) and v.name = split_part(t, '.', 3)
        and v.commit_id = l.id
    )
    returning 1
  )
  select max(l.id), (select count(*)::integer from gone) from looked_at l having max(l.id) is not null
$$;

-- Metadata files that a ref, a version that can be gone back to, or a table that can be undropped points to, in order.
create function catalog_reachable(p_after text, p_limit integer) returns setof text
language sql stable as $$
  select location
  from (
    (select distinct metadata_location as location from catalog_table
     where metadata_location > p_after order by 1 limit p_limit)
    union
    (select distinct metadata_location from catalog_version
     where metadata_location > p_after order by 1 limit p_limit)
    union
    (select distinct metadata_location from catalog_override
     where metadata_location > p_after order by 1 limit p_limit)
    union
    (select distinct dropped_location from catalog_override
     where dropped_location > p_after order by 1 limit p_limit)
  ) as roots
  order by 1
  limit p_limit
$$;

-- As before, but the rows to lock are looked up one by one whatever the plan's age: a plan that a session made when there were few
-- tables compared each key with each table.
create or replace function catalog_lock_tables(p_keys jsonb) returns void
language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  insert into catalog_table (namespace, layer, name, commit_id, xid, updated_at)
  select k.namespace, k.layer, k.name, 0, '0'::xid8, clock_timestamp()
  from (
    select distinct i.namespace, i.layer, i.name
    from jsonb_to_recordset(p_keys) as i(namespace text, layer text, name text)
    order by 1, 2, 3
  ) k
  left join lateral (
    select true as is_there
    from catalog_table t
    where t.namespace = k.namespace and t.layer = k.layer and t.name = k.name
    offset 0
  ) t on true
  where t.is_there is null
  on conflict do nothing;

  perform
  from (
    select distinct i.namespace, i.layer, i.name
    from jsonb_to_recordset(p_keys) as i(namespace text, layer text, name text)
    order by 1, 2, 3
  ) k
  cross join lateral (
    select
    from catalog_table t
    where t.namespace = k.namespace and t.layer = k.layer and t.name = k.name
    for update
  ) t;
end $$;

-- Answers with one row: outcome `committed`, `missing` (no such branch) or `conflict` (o_tables says which).
create or replace function catalog_commit_changes(p_ref text, p_message text, p_author text, p_run_id text, p_changes jsonb)
returns table (outcome text, o_id bigint, o_parent bigint, o_at timestamptz, o_message text, o_author text, o_tables text[])
language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  r catalog_ref;
  v_change record;
  v_id bigint;
  v_at timestamptz;
  v_conflicts text[];
  v_is_repeat boolean;
  v_tables text[];
begin
  select * into r from catalog_ref where name = p_ref and kind = 'branch';
  if found and r.id <> 0 then
    -- One writer at a time on a branch. Main's row is never locked: its tables' rows are.
    select * into r from catalog_ref where id = r.id for update;
  end if;
  if not found then
    return query select 'missing', null::bigint, null::bigint, null::timestamptz, null, null, null::text[];
    return;
  end if;
  if r.id = 0 then
    perform catalog_lock_tables(p_changes);
  end if;

  select
    array_agg(c.key order by c.key) filter (where c.current is distinct from c.expected),
    bool_and(c.current is not distinct from c.metadata_location),
    coalesce(array_agg(c.key order by c.key), '{}')
  into v_conflicts, v_is_repeat, v_tables
  from (
    select
      concat_ws('.', c.namespace, c.layer, c.name) as key,
      c.expected,
      c.metadata_location,
      case when r.id = 0 then t.metadata_location
           when o.ref_id is not null then o.metadata_location
           else b.metadata_location end as current
    from jsonb_to_recordset(p_changes)
      as c(namespace text, layer text, name text, expected text, metadata_location text)
    left join catalog_table t
      on r.id = 0 and t.namespace = c.namespace and t.layer = c.layer and t.name = c.name
    left join catalog_override o
      on r.id <> 0 and o.ref_id = r.id and o.namespace = c.namespace and o.layer = c.layer and o.name = c.name
    left join lateral (
      select v.metadata_location
      from catalog_version v
      where v.namespace = c.namespace and v.layer = c.layer and v.name = c.name
        and catalog_sees(r, v.commit_id, v.xid)
      order by v.commit_id desc
      limit 1
    ) b on r.id <> 0 and o.ref_id is null
  ) c;

  if v_is_repeat and p_run_id is not null then
    return query
      select
        'committed', k.id,
        coalesce((select max(p.id) from catalog_commit p where p.ref_id = k.ref_id and p.id < k.id), r.start_commit),
        k.committed_at, k.message, k.author, k.tables
      from catalog_commit k
      where k.run_id = p_run_id and k.ref_id = r.id
      order by k.id desc
      limit 1;
    if found then
      return;
    end if;
  end if;
  if v_conflicts is not null then
    return query select 'conflict', null::bigint, null::bigint, null::timestamptz, null, null, v_conflicts;
    return;
  end if;

  -- Taken after the locks: of two commits of one table the later has the higher number.
  v_id := nextval('catalog_commit_id');
  v_at := clock_timestamp();
  insert into catalog_commit (id, xid, ref_id, message, author, run_id, committed_at, tables)
  values (v_id, pg_current_xact_id(), r.id, p_message, p_author, p_run_id, v_at, v_tables);

  if r.id = 0 then
    -- Row by row: one plan for all tables at once compares each with each when it was made while there were few.
    for v_change in
      select i.*
      from jsonb_to_recordset(p_changes) as i(
        namespace text, layer text, name text,
        metadata_location text, snapshot_id text, row_count bigint, size_bytes bigint
      )
    loop
      update catalog_table t
      set commit_id = v_id,
          xid = pg_current_xact_id(),
          metadata_location = v_change.metadata_location,
          snapshot_id = v_change.snapshot_id,
          row_count = coalesce(v_change.row_count, 0),
          size_bytes = coalesce(v_change.size_bytes, 0),
          updated_at = v_at
      where t.namespace = v_change.namespace and t.layer = v_change.layer and t.name = v_change.name;
    end loop;
    insert into catalog_version
    select c.namespace, c.layer, c.name, v_id, pg_current_xact_id(),
      c.metadata_location, c.snapshot_id, coalesce(c.row_count, 0), coalesce(c.size_bytes, 0), v_at
    from jsonb_to_recordset(p_changes) as c(
      namespace text, layer text, name text,
      metadata_location text, snapshot_id text, row_count bigint, size_bytes bigint
    );
  else
    insert into catalog_override
    select r.id, c.namespace, c.layer, c.name, v_id,
      c.metadata_location, c.snapshot_id, coalesce(c.row_count, 0), coalesce(c.size_bytes, 0), v_at
    from jsonb_to_recordset(p_changes) as c(
      namespace text, layer text, name text,
      metadata_location text, snapshot_id text, row_count bigint, size_bytes bigint
    )
    on conflict (ref_id, namespace, layer, name) do update
    set commit_id = excluded.commit_id,
        metadata_location = excluded.metadata_location,
        snapshot_id = excluded.snapshot_id,
        row_count = excluded.row_count,
        size_bytes = excluded.size_bytes,
        updated_at = excluded.updated_at;
  end if;

  return query
    select
      'committed', v_id,
      coalesce((select max(p.id) from catalog_commit p where p.ref_id = r.id and p.id < v_id), r.start_commit),
      v_at, p_message, p_author, v_tables;
end $$;
