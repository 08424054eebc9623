-- @severity: error
-- @description: Every airport code appears once; a second row would double its flights in silver.flights.
-- @tags: uniqueness
-- @remediation: Look for two deliveries in the landing zone "airports" and delete the older file.
select iata, count(*) as rows_found
from {{ this }}
group by iata
having count(*) > 1
