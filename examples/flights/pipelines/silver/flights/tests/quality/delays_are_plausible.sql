-- @severity: error
-- @description: Delays lie between two hours early and two days late.
-- @tags: range
-- @remediation: Compare with the delivered file; the unit may have changed from minutes to seconds.
select departed_at, origin, destination, delay_minutes
from {{ this }}
where delay_minutes not between -120 and 2880
