-- @description: Flights in the United States, January to June 2001, as they were delivered.
-- @merge_strategy: full_refresh
select *
from read_parquet('{{ landing_zone("flights") }}')
