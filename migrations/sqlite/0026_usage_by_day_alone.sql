-- Every report adds a row to usage, and by day and user that was a random place in an index; by day alone it is the last one. Who asks for a
-- user asks by user and time.
DROP INDEX usage_by_day;
CREATE INDEX usage_by_day ON usage (day);
