-- @severity: error
-- @description: Each month lists twenty routes.
-- @tags: completeness
-- @remediation: A month with fewer has hardly any flights; check that its delivery is complete.
select month, count(*) as routes
from {{ this }}
group by month
having count(*) <> 20
