-- An INSERT whose fate nobody knows (no answer in time, a connection cut) is done again, and may have been carried out all the same. An
-- attempt is known again by its time and a number drawn for it. One index is for both: at the end of it, where it costs no page of its own
-- for each row, and in the place of the one by time. Attempts of before, and of nodes of before, have none.
-- It is made once over all there are, some seconds for each ten million, in which nodes that run take the store for away.
ALTER TABLE auth_attempts ADD COLUMN nonce bigint;
COMMENT ON COLUMN auth_attempts.nonce IS 'Drawn for each attempt: one that is recorded again is left out. Null for attempts of before.';

CREATE UNIQUE INDEX auth_attempts_once ON auth_attempts (at, nonce);
DROP INDEX auth_attempts_by_time;
