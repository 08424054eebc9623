-- The queue: one row for each run that waits, and none for those that ended. Table `run` says what is true; triggers keep the queue to
-- it, so whoever changes a run's status, nodes of the version before included, changes the queue in the same statement.

-- What the version before claims with; its names are needed below.
alter index run_queue rename to run_queued;
alter index run_queue_pipeline rename to run_queued_pipeline;

alter table run
  -- Larger goes first, within its namespace.
  add column priority integer not null default 0,
  -- Runs of a namespace that share a key take turns: one starts while fewer than its limit of them are running. '' for none.
  add column concurrency_key text collate "C" not null default '',
  add column concurrency_limit integer not null default 1,
  -- Queued again after a failed attempt: not before.
  add column if not exists retry_at timestamptz;

-- What a pipeline's file says of how its runs queue: {priority, concurrency_key, concurrency_limit}, each where it is said.
alter table file add column queueing jsonb;

create table run_queue (
  run_id uuid primary key,
  namespace text collate "C" not null,
  pipeline_id uuid,
  priority integer not null,
  concurrency_key text collate "C" not null,
  concurrency_limit integer not null,
  -- Not to be claimed before; null: at once.
  eligible_at timestamptz
) with (
  -- Every row dies young. Dead ones lie where claims look first.
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_analyze_scale_factor = 0.1
);
-- The order of claims. Keyed runs stand apart from the others, so that nobody has to read past a key that has no room.
create index run_queue_order on run_queue (namespace, concurrency_key, priority desc, run_id);
create index run_queue_pipeline on run_queue (pipeline_id, priority desc, run_id) where pipeline_id is not null;
create index run_queue_due on run_queue (eligible_at) where eligible_at is not null;

create function run_queue_add() returns trigger
language plpgsql as $$
begin
  insert into run_queue (run_id, namespace, pipeline_id, priority, concurrency_key, concurrency_limit, eligible_at)
  select a.id, a.namespace, a.pipeline_id, a.priority, a.concurrency_key, a.concurrency_limit, a.retry_at
  from added a
  where a.status = 'queued';
  return null;
end $$;
create trigger run_queue_add after insert on run
  referencing new table as added
  for each statement execute function run_queue_add();

create function run_queue_follow() returns trigger
language plpgsql as $$
begin
  if tg_op = 'DELETE' or new.status <> 'queued' then
    delete from run_queue where run_id = old.id;
  else
    insert into run_queue (run_id, namespace, pipeline_id, priority, concurrency_key, concurrency_limit, eligible_at)
    values (
      new.id, new.namespace, new.pipeline_id, new.priority, new.concurrency_key, new.concurrency_limit, new.retry_at)
    on conflict (run_id) do update
    set eligible_at = excluded.eligible_at;
  end if;
  return null;
end $$;
create trigger run_queue_follow after update on run
  for each row when (
    (old.status = 'queued') <> (new.status = 'queued')
    or (new.status = 'queued' and old.retry_at is distinct from new.retry_at))
  execute function run_queue_follow();
create trigger run_queue_leave after delete on run
  for each row when (old.status = 'queued') execute function run_queue_follow();

insert into run_queue (run_id, namespace, pipeline_id, priority, concurrency_key, concurrency_limit)
select id, namespace, pipeline_id, priority, concurrency_key, concurrency_limit
from run
where status = 'queued';

-- What people set for a namespace or a pipeline; null takes the default of the settings.
create table namespace_limit (
  namespace text collate "C" primary key references namespace (name) on delete cascade,
  -- Share of the slots, compared with the other namespaces that have something to run.
  weight double precision check (weight between 0.01 and 100),
  max_pending integer check (max_pending >= 0),
  max_pending_per_pipeline integer check (max_pending_per_pipeline >= 0),
  max_running integer check (max_running >= 0)
);
create table pipeline_limit (
  pipeline_id uuid primary key references pipeline (id) on delete cascade,
  max_pending integer not null check (max_pending >= 0)
);

-- How much each namespace has got, in virtual time: a run that starts costs 1 / weight. Written by claims only, which take turns.
create table queue_share (
  namespace text collate "C" primary key,
  got double precision not null,
  -- The last claim left runs behind that could have started: what it has not got yet, it is owed.
  is_owed boolean not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- The virtual time of the newest start: who comes back after having had nothing to run begins here.
create table queue_clock (
  is_only boolean primary key default true check (is_only),
  at double precision not null
) with (fillfactor = 10);
insert into queue_clock (at) values (0);

-- Pending runs of namespaces and of pipelines (each of which is in one of them), as of now and until the transaction ends: whoever
-- else wants to add to these namespaces waits. Locks are taken in one order.
create function run_pending(p_namespaces text[], p_pipelines uuid[])
returns table (namespace text, pipeline_id uuid, runs integer)
language plpgsql as $$
begin
  perform pg_advisory_xact_lock(7245011, lock.key)
  from (select distinct hashtext(n) as key from unnest(p_namespaces) n order by 1) lock;
  -- A new statement, so it sees what others added while this one waited for its turn.
  return query
    select n, null::uuid, (select count(*)::integer from run_queue q where q.namespace = n)
    from unnest(p_namespaces) n
    union all
    select null, p, (select count(*)::integer from run_queue q where q.pipeline_id = p)
    from unnest(p_pipelines) p;
end $$;

-- Namespaces in which runs wait: their weights, and what they have got as it counts now. Who had nothing to run begins at the clock;
-- what one is owed is at most ten runs, so that nobody who had to wait for long takes over.
create function queue_waiting() returns table (namespace text, weight double precision, got double precision)
language sql stable as $$
  with recursive waiting (namespace) as (
    -- A loose index scan: costs the number of namespaces that wait, not of runs.
    (select q.namespace from run_queue q order by q.namespace limit 1)
    union all
    select (select q.namespace from run_queue q where q.namespace > w.namespace order by q.namespace limit 1)
    from waiting w
    where w.namespace is not null
  )
  select
    w.namespace, coalesce(l.weight, 1),
    greatest(
      coalesce(s.got, 0),
      (select k.at from queue_clock k) - case when s.is_owed then 10 / coalesce(l.weight, 1) else 0 end)
  from waiting w
  left join namespace_limit l on l.namespace = w.namespace
  left join queue_share s on s.namespace = w.namespace
  where w.namespace is not null
$$;

-- Starts runs for a node: p_free of them for free slots, and up to p_ahead more if the other nodes have enough to do. Answers with
-- their rows in the order in which they begin. Claims go one after the other (their commits included), so that limits hold exactly
-- and shares are charged once; the lock is taken and given back within one statement, which no client that stops can hold up.
-- docs/adr/017 has the rules.
create function run_claim(
  p_node text, p_free integer, p_ahead integer, p_lease_seconds integer, p_max_running integer)
returns table (turn integer, run run)
language plpgsql
-- The plans are kept, and must be right for a queue of any length whatever they were made for.
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
declare
  v_now timestamptz;
  v_nodes integer := 1;
  v_ids uuid[];
  v_picked uuid[];
  v_state jsonb;
begin
  if not exists (select from run_queue) then
    return;
  end if;
  perform pg_advisory_xact_lock(7245012);
  v_now := clock_timestamp();
  if p_ahead > 0 then
    select greatest(1, count(*))::integer into v_nodes from node n where 'runner' = any (n.roles) and n.status = 'ready';
  end if;

  with recursive active as materialized (
    select r.namespace, r.concurrency_key, count(*)::integer as runs
    from run r
    where r.status = 'running'
    group by r.namespace, r.concurrency_key
  ),
  waiting as materialized (select * from queue_waiting()),
  present as (
    select
      n.namespace, w.weight, w.got, coalesce(a.runs, 0) as held,
      coalesce(l.max_running, p_max_running) as max_running,
      coalesce(l.weight, 1) / sum(coalesce(l.weight, 1)) over ()
        * (p_free + p_ahead + sum(coalesce(a.runs, 0)) over ()) as share
    from (select w.namespace from waiting w union select a.namespace from active a) n
    left join waiting w on w.namespace = n.namespace
    left join (
      select a.namespace, sum(a.runs)::integer as runs from active a group by a.namespace
    ) a on a.namespace = n.namespace
    left join namespace_limit l on l.namespace = n.namespace
  ),
  lane (namespace, concurrency_key) as (
    (select q.namespace, q.concurrency_key
     from run_queue q
     order by q.namespace, q.concurrency_key
     limit 1)
    union all
    select after.namespace, after.concurrency_key
    from lane l
    cross join lateral (
      select q.namespace, q.concurrency_key
      from run_queue q
      where (q.namespace, q.concurrency_key) > (l.namespace, l.concurrency_key)
      order by q.namespace, q.concurrency_key
      limit 1) after
  ),
  -- The first runs of each lane that nothing but their number keeps from starting.
  startable as (
    select l.namespace, f.run_id, f.priority
    from lane l
    left join active a on a.namespace = l.namespace and a.concurrency_key = l.concurrency_key
    cross join lateral (
      select
        q.run_id, q.priority,
        l.concurrency_key = ''
          or bool_and(coalesce(a.runs, 0) + q.place <= q.concurrency_limit) over (order by q.place) as has_room
      from (
        select
          q.run_id, q.priority, q.concurrency_limit,
          row_number() over (order by q.priority desc, q.run_id) as place
        from run_queue q
        where q.namespace = l.namespace and q.concurrency_key = l.concurrency_key
          and (q.eligible_at is null or q.eligible_at <= v_now)
          and (
            q.pipeline_id is null
            or (
              not exists (select from run b where b.status = 'running' and b.pipeline_id = q.pipeline_id)
              and q.run_id = (
                select o.run_id
                from run_queue o
                where o.pipeline_id = q.pipeline_id and (o.eligible_at is null or o.eligible_at <= v_now)
                order by o.priority desc, o.run_id
                limit 1)
            )
          )
        order by q.priority desc, q.run_id
        limit p_free + p_ahead * v_nodes + 1
      ) q
    ) f
    where f.has_room
  ),
  placed as (
    select s.namespace, s.run_id, row_number() over (partition by s.namespace order by s.priority desc, s.run_id) as place
    from startable s
  ),
  candidate as materialized (
    select
      p.namespace, p.run_id, n.weight, n.got,
      -- Who holds its share of the slots already comes after those who do not.
      n.held + p.place - 1 >= n.share as is_over,
      n.got + p.place / n.weight as tag
    from placed p
    join present n on n.namespace = p.namespace
    where p.place <= n.max_running - n.held
  ),
  picked as (
    select c.run_id, row_number() over (order by c.is_over, c.tag, c.run_id) as turn
    from candidate c
    order by c.is_over, c.tag, c.run_id
    limit p_free + least(p_ahead, greatest(0, ((select count(*) from candidate) - p_free) / v_nodes))
  )
  select
    (select array_agg(p.run_id order by p.turn) from picked p),
    (select jsonb_object_agg(n.namespace, n.state)
     from (
       select c.namespace, jsonb_build_object('weight', min(c.weight), 'got', min(c.got), 'all', count(*)) as state
       from candidate c
       group by c.namespace) n)
  into v_picked, v_state;
  if v_picked is null then
    return;
  end if;

  -- One that somebody cancels in this moment is left out.
  select array_agg(r.id) into v_ids
  from (
    select r.id
    from run r
    where r.id = any (v_picked) and r.status = 'queued'
    for no key update skip locked) r;

  return query
    with claimed as (
      update run r
      set status = 'running',
          attempt = r.attempt + 1,
          fencing_token = r.fencing_token + 1,
          lease_owner = p_node,
          lease_expires_at = v_now + make_interval(secs => p_lease_seconds),
          log_base = case
            when r.attempt = 0 then 0
            else (select coalesce(max(l.seq), 0) from run_log l where l.run_id = r.id)
          end,
          phase = null,
          branch = case when r.kind = 'pipeline' then 'run-' || r.id end,
          started_at = coalesce(r.started_at, v_now)
      where r.id = any (v_ids)
      returning r
    ),
    started as (
      select (c.r).namespace as name, count(*) as runs from claimed c group by (c.r).namespace
    ),
    charged as (
      insert into queue_share as s (namespace, got, is_owed)
      select
        n.name,
        (n.state ->> 'got')::float8 + coalesce(b.runs, 0) / (n.state ->> 'weight')::float8,
        (n.state ->> 'all')::integer > coalesce(b.runs, 0)
      from jsonb_each(v_state) n (name, state)
      left join started b on b.name = n.name
      on conflict (namespace) do update
      set got = excluded.got, is_owed = excluded.is_owed
      where (s.got, s.is_owed) is distinct from (excluded.got, excluded.is_owed)
    ),
    moved as (
      update queue_clock k
      set at = b.newest
      from (
        select max((v_state -> b.name ->> 'got')::float8 + (b.runs - 1) / (v_state -> b.name ->> 'weight')::float8) as newest
        from started b) b
      where k.at < b.newest
    )
    select array_position(v_picked, (c.r).id), c.r
    from claimed c
    order by 1;
end $$;
