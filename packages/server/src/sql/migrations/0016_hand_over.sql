-- Attempts that a node gave back when it stopped: they count neither as failed nor as lost.
alter table run add column hand_overs integer not null default 0;
alter table run_attempt
  drop constraint run_attempt_outcome_check,
  add constraint run_attempt_outcome_check
    check (outcome in ('succeeded', 'failed', 'cancelled', 'lost', 'handed_over'));
