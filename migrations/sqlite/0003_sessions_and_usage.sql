-- Stale limits by a session's own interval, ports that are reused, counters that wrap; and usage by day. `day` is text as
-- 2026-11-20.

ALTER TABLE nases ADD COLUMN octet_wrap INTEGER NOT NULL DEFAULT 0 CHECK (octet_wrap IN (0, 1));
ALTER TABLE nases ADD COLUMN unique_ports INTEGER CHECK (unique_ports IN (0, 1));

ALTER TABLE sessions ADD COLUMN interim_interval INTEGER;

DROP INDEX sessions_open_by_nas;
CREATE INDEX sessions_open_by_nas ON sessions (nas, nas_port, nas_port_id) WHERE state NOT IN ('dropped', 'closed');

DROP VIEW report_usage;
ALTER TABLE usage RENAME TO usage_before;
DROP INDEX usage_by_time;

CREATE TABLE usage (
    session_id     TEXT NOT NULL,
    user_name      TEXT NOT NULL,
    nas            TEXT NOT NULL,
    from_at        INTEGER NOT NULL,
    to_at          INTEGER NOT NULL,
    input_octets   INTEGER NOT NULL,
    output_octets  INTEGER NOT NULL,
    input_packets  INTEGER NOT NULL,
    output_packets INTEGER NOT NULL,
    session_time   INTEGER NOT NULL,
    version        INTEGER NOT NULL,
    day            TEXT NOT NULL,
    PRIMARY KEY (session_id, version, to_at)
) STRICT;

INSERT INTO usage (session_id, user_name, nas, from_at, to_at, input_octets, output_octets, input_packets, output_packets,
                   session_time, version, day)
SELECT session_id, user_name, nas, from_at, to_at, input_octets, output_octets, input_packets, output_packets,
       session_time, version, strftime('%Y-%m-%d', to_at / 1000000.0, 'unixepoch')
FROM usage_before;

DROP TABLE usage_before;

CREATE INDEX usage_by_time ON usage (to_at);
CREATE INDEX usage_by_user ON usage (user_name, to_at);
CREATE INDEX usage_by_day ON usage (day, user_name);

CREATE TABLE usage_days (
    day            TEXT NOT NULL,
    user_name      TEXT NOT NULL,
    nas            TEXT NOT NULL,
    input_octets   INTEGER NOT NULL,
    output_octets  INTEGER NOT NULL,
    input_packets  INTEGER NOT NULL,
    output_packets INTEGER NOT NULL,
    session_time   INTEGER NOT NULL,
    PRIMARY KEY (day, user_name, nas)
) STRICT;

CREATE VIEW usage_daily AS
SELECT
    day,
    user_name,
    nas,
    sum(input_octets) AS input_octets,
    sum(output_octets) AS output_octets,
    sum(input_packets) AS input_packets,
    sum(output_packets) AS output_packets,
    sum(session_time) AS session_time
FROM (
    SELECT day, user_name, nas, input_octets, output_octets, input_packets, output_packets, session_time FROM usage
    UNION ALL
    SELECT day, user_name, nas, input_octets, output_octets, input_packets, output_packets, session_time FROM usage_days
)
GROUP BY day, user_name, nas;

CREATE VIEW report_usage AS
SELECT
    session_id,
    user_name,
    nas,
    strftime('%Y-%m-%dT%H:%M:%fZ', from_at / 1000000.0, 'unixepoch') AS from_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', to_at / 1000000.0, 'unixepoch') AS to_at,
    input_octets,
    output_octets,
    input_packets,
    output_packets,
    session_time,
    day
FROM usage;
