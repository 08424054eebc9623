-- Events: written to `outbox` in the transaction they tell of, moved to `event` by the relay, which numbers them.
-- Other rooms insert into `outbox`; everything else here belongs to server/event.

create table outbox (
  id bigint generated always as identity primary key,
  key text not null,
  type text not null,
  namespace text not null,
  payload jsonb not null,
  at timestamptz not null default clock_timestamp()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- The log. Offsets have no gaps and rise in the order in which events became visible.
create table event (
  "offset" bigint primary key,
  key text not null,
  type text not null,
  namespace text not null,
  payload jsonb not null,
  at timestamptz not null
);
create index event_key on event (key, "offset");

-- The last offset that was given, kept apart because old events are pruned. Its row lock makes relays take turns.
create table event_head (
  is_only boolean primary key default true check (is_only),
  last_offset bigint not null default 0
) with (fillfactor = 10);
insert into event_head default values;

-- How far each durable consumer has come.
create table event_consumer (
  name text primary key,
  "offset" bigint not null,
  updated_at timestamptz not null default now()
);

-- Moves at most p_limit events from the outbox to the log, tells listening nodes and answers with them in order.
-- Safe to call from anywhere at any time: a transaction that commits later gets later offsets, whatever its outbox ids.
create function event_relay(p_limit integer, p_node text) returns setof event
language plpgsql as $$
declare
  v_last bigint;
  v_moved bigint;
begin
  if not exists (select from outbox) then
    return;
  end if;
  select last_offset into v_last from event_head for update;
  -- A new statement, so it sees what other relays did while this one waited for its turn.
  return query
    with gone as (
      delete from outbox
      where id in (select id from outbox order by id limit p_limit)
      returning *
    )
    insert into event ("offset", key, type, namespace, payload, at)
    select v_last + row_number() over (order by id), key, type, namespace, payload, at
    from gone
    returning *;
  get diagnostics v_moved = row_count;
  if v_moved > 0 then
    update event_head set last_offset = v_last + v_moved;
    perform pg_notify('rat_event', p_node || ' ' || (v_last + v_moved));
  end if;
end $$;

-- Deletes events from before p_before, at most p_limit of them, and answers how many there were.
create function event_prune(p_before timestamptz, p_limit integer) returns bigint
language plpgsql as $$
declare
  v_pruned bigint;
begin
  delete from event
  where "offset" <= (
    -- Only the oldest page is looked at: a scan for old events would read the whole log when there are none.
    select max("offset")
    from (select "offset", at from event order by "offset" limit p_limit) page
    where at < p_before
  );
  get diagnostics v_pruned = row_count;
  return v_pruned;
end $$;
