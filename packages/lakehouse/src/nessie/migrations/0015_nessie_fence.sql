-- The largest fencing token that has taken the branch of a run (see the catalog's 0013). Zero: none has.
alter table nessie_ref add column fence bigint not null default 0;
