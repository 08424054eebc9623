-- A catalog outside of this database: a publish is an intent here, the merge there, and the end of the run here. While the intent
-- stands, nobody else ends the run or gives it to another attempt.
alter table run add column publishing jsonb;

create index run_publishing on run (lease_expires_at) where publishing is not null;
