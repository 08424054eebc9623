{% set flights_at_least = 100 %}
{% set routes_per_month = 20 %}

with route as (
  select
    cast(date_trunc('month', departure_date) as date) as month,
    origin,
    destination,
    any_value(origin_city) as origin_city,
    any_value(destination_city) as destination_city,
    cast(count(*) as integer) as flights,
    round(avg(delay_minutes), 1) as mean_delay_minutes,
    round(avg(cast(is_late as integer)), 4) as late_share
  from {{ ref('silver.flights') }}
  group by all
  having count(*) >= {{ flights_at_least }}
)

select
  month,
  cast(row_number() over worst as integer) as place,
  origin,
  origin_city,
  destination,
  destination_city,
  flights,
  mean_delay_minutes,
  late_share
from route
window worst as (partition by month order by late_share desc, mean_delay_minutes desc, origin, destination)
qualify place <= {{ routes_per_month }}
order by month, place
