-- @severity: error
-- @description: The flights of all rows add up to silver.flights.
-- @tags: reconciliation
-- @remediation: The grouping lost or doubled rows; look at NULL hours and at joins added lately.
select counted, expected
from (select sum(flights) as counted from {{ this }})
cross join (select count(*) as expected from {{ ref('silver.flights') }})
where counted is distinct from expected
