-- Every report adds a row to usage, and by day and user that was a random place in an index; by day alone it is the last one. Who asks for a
-- user's day goes by user: of two indexes that serve as well, SQLite takes the one that was made later.
DROP INDEX usage_by_day;
DROP INDEX usage_by_user;
CREATE INDEX usage_by_day ON usage (day);
CREATE INDEX usage_by_user ON usage (user_name, to_at);
