-- Statements before the last one prepare things that only this run sees; the last one is the table.
create temporary table airport as
select
  iata,
  name,
  -- The source writes NA where a place is not known.
  nullif(city, 'NA') as city,
  nullif(state, 'NA') as state
from {{ ref('bronze.airports') }};

with flight as (
  -- distinct: the source repeats 191 rows in every column.
  select distinct
    date as departed_at,
    cast(delay as integer) as delay_minutes,
    cast(distance as integer) as distance_miles,
    origin,
    destination
  from {{ ref('bronze.flights') }}
  -- Nobody lands two hours before the timetable: those are wrong clocks (3 rows).
  where delay >= -120
)

select
  departed_at,
  cast(departed_at as date) as departure_date,
  cast(extract(hour from departed_at) as integer) as departure_hour,
  origin,
  o.name as origin_name,
  o.city as origin_city,
  o.state as origin_state,
  destination,
  d.name as destination_name,
  d.city as destination_city,
  d.state as destination_state,
  distance_miles,
  delay_minutes,
  -- The rule of the Department of Transportation: late from 15 minutes on.
  delay_minutes >= 15 as is_late
from flight
left join airport as o on o.iata = flight.origin
left join airport as d on d.iata = flight.destination
