-- @description: Airports with name, place and position, as they were delivered: every column is text.
-- @merge_strategy: full_refresh
select *
from read_csv('{{ landing_zone("airports") }}', header = true, all_varchar = true)
