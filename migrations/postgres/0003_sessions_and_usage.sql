-- Stale limits by a session's own interval, ports that are reused, counters that wrap; and usage by month and by day.
-- Nodes of before cannot write usage to this schema: stop them first.

ALTER TABLE nases
    ADD COLUMN octet_wrap boolean NOT NULL DEFAULT false,
    ADD COLUMN unique_ports boolean;

COMMENT ON COLUMN nases.octet_wrap IS 'Its octet counters wrap at 32 bits and it sends no Gigawords.';
COMMENT ON COLUMN nases.unique_ports IS 'No two sessions of it have one NAS-Port (or NAS-Port-Id) at a time. Null is as its dialect says.';

ALTER TABLE sessions ADD COLUMN interim_interval bigint;

COMMENT ON COLUMN sessions.interim_interval IS 'Seconds between its Interim-Updates: as the Access-Accept asked, else as they came. Null when not known.';
COMMENT ON COLUMN sessions.end_cause IS 'How the end is known: stop, nas-restart, session-gone, stale, never-started, port-reused.';

DROP INDEX sessions_open_by_nas;
CREATE INDEX sessions_open_by_nas ON sessions (nas, nas_port, nas_port_id) WHERE state NOT IN ('dropped', 'closed');

DROP VIEW report_usage;
ALTER TABLE usage RENAME TO usage_before;
ALTER INDEX usage_pkey RENAME TO usage_before_pkey;
ALTER INDEX usage_by_time RENAME TO usage_before_by_time;
ALTER INDEX usage_by_user RENAME TO usage_before_by_user;

CREATE TABLE usage (
    session_id     uuid NOT NULL,
    user_name      text NOT NULL,
    nas            text NOT NULL,
    from_at        timestamptz NOT NULL,
    to_at          timestamptz NOT NULL,
    input_octets   bigint NOT NULL,
    output_octets  bigint NOT NULL,
    input_packets  bigint NOT NULL,
    output_packets bigint NOT NULL,
    session_time   bigint NOT NULL,
    version        bigint NOT NULL,
    day            date NOT NULL,
    -- That each report counts once is the doing of sessions.version: a version is written once, and its usage with it, in one
    -- transaction. This key only finds a session's rows, and would catch a mistake.
    PRIMARY KEY (session_id, version, to_at)
) PARTITION BY RANGE (to_at);

COMMENT ON TABLE usage IS 'What sessions carried between two reports of the NAS, cut at midnight in proportion to time. Outlives the session''s own row. A partition for each month of to_at (UTC), usage_YYYY_MM; usage_other takes what fits none.';
COMMENT ON COLUMN usage.version IS 'The version of the session that this came with: each counts once.';
COMMENT ON COLUMN usage.day IS 'The day it counts for, by accounting.utc_offset.';

CREATE INDEX usage_by_time ON usage USING brin (to_at);
CREATE INDEX usage_by_user ON usage (user_name, to_at);
CREATE INDEX usage_by_day ON usage (day, user_name);

CREATE TABLE usage_other PARTITION OF usage DEFAULT;

COMMENT ON TABLE usage_other IS 'Usage of months that have no partition: much too late, or from a clock that is far off.';

CREATE FUNCTION usage_add_month(at timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    first timestamptz := date_trunc('month', at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    next  timestamptz := (date_trunc('month', at AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
    month text := 'usage_' || to_char(at AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
    IF to_regclass(quote_ident(month)) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- One node at a time. A table's lock and not an advisory one: only with that does the next look see what others made.
    LOCK TABLE usage_other IN SHARE ROW EXCLUSIVE MODE;
    IF to_regclass(quote_ident(month)) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- Made apart and attached: CREATE … PARTITION OF would keep every writer out meanwhile.
    EXECUTE format('CREATE TABLE %I (LIKE usage INCLUDING DEFAULTS)', month);
    EXECUTE format('COMMENT ON TABLE %I IS %L', month, 'Usage of one month; ask usage, report_usage or usage_daily.');
    EXECUTE format(
        'WITH moved AS (DELETE FROM usage_other WHERE to_at >= %L AND to_at < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
        first, next, month);
    EXECUTE format('ALTER TABLE usage ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', month, first, next);
    RETURN true;
END $$;

COMMENT ON FUNCTION usage_add_month IS 'Makes the partition of usage for the month of a time, unless there is one; what usage_other had of it moves there.';

CREATE TABLE usage_days (
    day            date NOT NULL,
    user_name      text NOT NULL,
    nas            text NOT NULL,
    input_octets   bigint NOT NULL,
    output_octets  bigint NOT NULL,
    input_packets  bigint NOT NULL,
    output_packets bigint NOT NULL,
    session_time   bigint NOT NULL,
    PRIMARY KEY (day, user_name, nas)
);

COMMENT ON TABLE usage_days IS 'Sums of the usage that retention has dropped. For reports use usage_daily, which has both.';

CREATE VIEW usage_daily AS
SELECT
    day,
    user_name,
    nas,
    least(sum(input_octets), 9223372036854775807)::bigint AS input_octets,
    least(sum(output_octets), 9223372036854775807)::bigint AS output_octets,
    least(sum(input_packets), 9223372036854775807)::bigint AS input_packets,
    least(sum(output_packets), 9223372036854775807)::bigint AS output_packets,
    least(sum(session_time), 9223372036854775807)::bigint AS session_time
FROM (
    SELECT day, user_name, nas, input_octets, output_octets, input_packets, output_packets, session_time FROM usage
    UNION ALL
    SELECT day, user_name, nas, input_octets, output_octets, input_packets, output_packets, session_time FROM usage_days
) AS parts
GROUP BY day, user_name, nas;

COMMENT ON VIEW usage_daily IS 'What each user carried on each NAS each day, whether its intervals are still kept or not.';

-- The months of the data there is, as far as clocks make sense, and the months to come.
SELECT usage_add_month(month)
FROM (
    SELECT DISTINCT date_trunc('month', to_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS month
    FROM usage_before
    WHERE to_at BETWEEN now() - interval '10 years' AND now() + interval '1 month'
    UNION
    SELECT date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + ahead * interval '1 month'
    FROM generate_series(0, 2) AS ahead
) AS months;

INSERT INTO usage (session_id, user_name, nas, from_at, to_at, input_octets, output_octets, input_packets, output_packets,
                   session_time, version, day)
SELECT session_id, user_name, nas, from_at, to_at, input_octets, output_octets, input_packets, output_packets,
       session_time, version, (to_at AT TIME ZONE 'UTC')::date
FROM usage_before;

DROP TABLE usage_before;

CREATE VIEW report_usage AS
SELECT session_id, user_name, nas, from_at, to_at, input_octets, output_octets, input_packets, output_packets, session_time,
       day
FROM usage;

COMMENT ON VIEW report_usage IS 'What sessions carried between two reports of the NAS, cut at midnight.';
