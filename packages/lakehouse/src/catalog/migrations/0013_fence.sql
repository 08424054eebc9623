-- The branch of a run belongs to the run's newest attempt: it carries the largest fencing token that has ever taken it. Whoever comes with
-- a smaller one (a paused process that goes on, a request that was long on its way) changes nothing. Zero: nobody has.
alter table catalog_ref add column fence bigint not null default 0;

-- Gives a run's branch to the attempt with this token: makes it of `p_from`, finds it as an earlier attempt left it, or (`p_is_fresh`) makes
-- it anew. Outcomes: `held`, `refused` (a newer attempt has it), `taken` (the name is not this run's), `missing` (no such source).
create function catalog_hold_branch(p_name text, p_from text, p_run_id text, p_fence bigint, p_is_fresh boolean)
returns table (
  outcome text, name text, kind text, run_id text, base_commit bigint, created_at timestamptz, expires_at timestamptz, head bigint
)
language plpgsql as $$
#variable_conflict use_column
declare
  r catalog_ref;
  s catalog_ref;
begin
  for v_try in 1..2 loop
    select * into r from catalog_ref where name = p_name for update;
    if found then
      if r.kind <> 'branch' or r.run_id is distinct from p_run_id then
        return query select 'taken', p_name, null, null, null::bigint, null::timestamptz, null::timestamptz, null::bigint;
        return;
      elsif r.fence > p_fence then
        return query select 'refused', p_name, null, null, null::bigint, null::timestamptz, null::timestamptz, null::bigint;
        return;
      elsif not p_is_fresh then
        update catalog_ref set fence = p_fence where id = r.id and fence <> p_fence;
        exit;
      end if;
      perform catalog_end_ref(r.id);
    elsif exists (select from catalog_commit k where k.run_id = p_run_id and k.ref_id = 0) then
      -- The run has been published, and its branch ended with that: nobody would end another one.
      return query select 'refused', p_name, null, null, null::bigint, null::timestamptz, null::timestamptz, null::bigint;
      return;
    end if;

    if p_from = 'main' then
      select * into s from catalog_ref where id = 0;
    else
      -- What another ref keeps from retention must not end before the new one keeps it.
      select * into s from catalog_ref where name = p_from for key share;
    end if;
    if not found then
      return query select 'missing', p_from, null, null, null::bigint, null::timestamptz, null::timestamptz, null::bigint;
      return;
    end if;
    insert into catalog_ref (name, kind, run_id, fence, start_commit, base_commit, base_limit, base_xid, base_snapshot)
    select
      p_name, 'branch', p_run_id, p_fence,
      coalesce((select max(id) from catalog_commit where ref_id = s.id), s.start_commit),
      case when s.id = 0 then (select max(id) from catalog_commit where ref_id = 0) else s.base_commit end,
      case when s.id = 0 then (select last_value from catalog_commit_id) else s.base_limit end,
      case when s.id = 0 then pg_current_xact_id() else s.base_xid end,
      case when s.id = 0 then pg_current_snapshot() else s.base_snapshot end
    on conflict (name) do nothing
    returning * into r;
    if found then
      insert into catalog_override (
        ref_id, namespace, layer, name, commit_id, metadata_location, snapshot_id, row_count, size_bytes, updated_at, rebased_onto
      )
      select
        r.id, o.namespace, o.layer, o.name, o.commit_id,
        o.metadata_location, o.snapshot_id, o.row_count, o.size_bytes, o.updated_at, o.rebased_onto
      from catalog_override o
      where o.ref_id = s.id and s.id <> 0;
      exit;
    end if;
    -- Somebody made it in this instant: it is looked at again.
  end loop;
  return query
    select
      'held', r.name, r.kind, r.run_id, r.base_commit, r.created_at, r.expires_at,
      coalesce((select max(k.id) from catalog_commit k where k.ref_id = r.id), r.start_commit);
end $$;

-- As before, and `held`: the branch is a newer attempt's. `p_fence` null asks nothing: people may repair the branch of a failed run.
create function catalog_commit_changes(
  p_ref text, p_message text, p_author text, p_run_id text, p_changes jsonb, p_fence bigint
) returns table (outcome text, o_id bigint, o_parent bigint, o_at timestamptz, o_message text, o_author text, o_tables text[])
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
  if r.fence > p_fence then
    return query select 'held', null::bigint, null::bigint, null::timestamptz, null, null, null::text[];
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

-- Of nodes that know no fence.
create or replace function catalog_commit_changes(p_ref text, p_message text, p_author text, p_run_id text, p_changes jsonb)
returns table (outcome text, o_id bigint, o_parent bigint, o_at timestamptz, o_message text, o_author text, o_tables text[])
language sql as $$
  select * from catalog_commit_changes(p_ref, p_message, p_author, p_run_id, p_changes, null)
$$;

-- As before, for the attempt that holds the branch. The row is locked: a newer attempt that takes the branch waits for the change or
-- comes first.
create function catalog_rebase(
  p_ref text, p_namespace text, p_layer text, p_name text, p_expected text, p_onto text,
  p_location text, p_snapshot_id text, p_row_count bigint, p_size_bytes bigint, p_fence bigint
) returns boolean
language plpgsql as $$
begin
  perform from catalog_ref r
  where r.name = p_ref and r.kind = 'branch' and r.id <> 0 and (p_fence is null or r.fence <= p_fence)
  for no key update;
  return found and catalog_rebase(
    p_ref, p_namespace, p_layer, p_name, p_expected, p_onto, p_location, p_snapshot_id, p_row_count, p_size_bytes
  );
end $$;
