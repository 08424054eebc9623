-- @severity: error
-- @description: Both airports of every flight are in bronze.airports.
-- @tags: relationship
-- @remediation: Upload a newer airports.csv to the landing zone "airports" and run bronze.airports again.
select departed_at, origin, destination
from {{ this }}
where origin_name is null or destination_name is null
