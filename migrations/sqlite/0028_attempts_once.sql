-- A transaction whose fate nobody knows (no answer in time) is done again, and may have been carried out all the same. An attempt is known
-- again by its time and a number drawn for it. One index is for both: at the end of it, where it costs no page of its own for each row, and
-- in the place of the one by time. Attempts of before have none.
ALTER TABLE auth_attempts ADD COLUMN nonce INTEGER;

CREATE UNIQUE INDEX auth_attempts_once ON auth_attempts (at, nonce);
DROP INDEX auth_attempts_by_time;
