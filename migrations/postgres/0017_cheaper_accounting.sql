-- Every Interim-Update adds a row to usage: one index less to keep. Rows come in the order of days, so that a summary of each range of pages
-- finds a day as well as an entry for each row did.
DROP INDEX usage_by_day;
DROP INDEX usage_by_time;
CREATE INDEX usage_by_time ON usage USING brin (to_at, day) WITH (autosummarize = on);
