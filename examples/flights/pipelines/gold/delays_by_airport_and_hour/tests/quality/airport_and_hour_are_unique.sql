-- @severity: error
-- @description: One row per airport and hour.
-- @tags: uniqueness
-- @remediation: An airport has two names or places in silver.flights; see bronze.airports.
select airport, hour, count(*) as rows_found
from {{ this }}
group by airport, hour
having count(*) > 1
