-- @severity: warn
-- @description: Every flight starts and ends in a city that we know by name.
-- @tags: completeness, airports
-- @remediation: Add the city of these airports to airports.csv; until then they are missing from lists by city.
select departed_at, origin, origin_name, destination, destination_name
from {{ this }}
where origin_city is null or destination_city is null
