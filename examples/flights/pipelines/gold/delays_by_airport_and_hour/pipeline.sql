select
  origin as airport,
  origin_name as airport_name,
  origin_city as city,
  origin_state as state,
  departure_hour as hour,
  cast(count(*) as integer) as flights,
  round(avg(delay_minutes), 1) as mean_delay_minutes,
  round(quantile_cont(delay_minutes, 0.9), 1) as delay_minutes_p90,
  round(avg(cast(is_late as integer)), 4) as late_share
from {{ ref('silver.flights') }}
group by all
order by airport, hour
