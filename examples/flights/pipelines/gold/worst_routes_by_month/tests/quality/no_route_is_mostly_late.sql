-- @severity: warn
-- @description: On no route are more than half of a month's flights late.
-- @tags: business
-- @remediation: Nothing is wrong with the data; tell the people who plan connections over these airports.
select month, place, origin, destination, late_share
from {{ this }}
where late_share > 0.5
order by late_share desc
