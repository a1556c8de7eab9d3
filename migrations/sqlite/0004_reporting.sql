-- What people report from: the report_* views, which docs/reporting.md describes and promises. Hours are UTC's; days and months go
-- by accounting.utc_offset, as usage.day does. Times are RFC 3339 to the millisecond, days and months 2026-11-01: as text they compare and sort as times do.

ALTER TABLE users ADD COLUMN monthly_quota INTEGER;

-- The few ends that nobody announced: this costs an ordinary Stop nothing.
CREATE INDEX sessions_ghosts_by_ended_at ON sessions (ended_at) WHERE end_cause NOT IN ('stop', 'never-started');

CREATE VIEW report_online AS
SELECT
    id AS session_id,
    user_name,
    nas,
    nas_address,
    state,
    acct_session_id,
    nas_port,
    calling_station_id,
    framed_ip,
    framed_ipv6_prefix,
    strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1000000.0, 'unixepoch') AS started_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', heard_at / 1000000.0, 'unixepoch') AS heard_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', deadline / 1000000.0, 'unixepoch') AS deadline,
    max(CAST(strftime('%s', 'now') AS INTEGER) - started_at / 1000000, 0) AS online_seconds,
    max(CAST(strftime('%s', 'now') AS INTEGER) - heard_at / 1000000, 0) AS silent_seconds,
    input_octets,
    output_octets
FROM sessions
WHERE state NOT IN ('dropped', 'closed') AND started_at IS NOT NULL;

-- An interval that crosses a full hour is split in proportion to time. Each share is the difference of two roundings of
-- the whole, so that the shares add up to the octet.
CREATE VIEW report_usage_hours AS
WITH RECURSIVE pieces AS (
    SELECT
        session_id, user_name, nas, from_at, to_at, input_octets, output_octets, session_time,
        from_at - from_at % 3600000000 AS hour
    FROM usage
    UNION ALL
    SELECT
        session_id, user_name, nas, from_at, to_at, input_octets, output_octets, session_time,
        hour + 3600000000
    FROM pieces
    WHERE hour + 3600000000 < to_at
),
shares AS (
    SELECT
        *,
        CASE WHEN hour <= from_at THEN 0.0 ELSE (hour - from_at) * 1.0 / (to_at - from_at) END AS since,
        CASE WHEN hour + 3600000000 >= to_at THEN 1 ELSE (hour + 3600000000 - from_at) * 1.0 / (to_at - from_at) END AS until
    FROM pieces
)
SELECT
    session_id,
    user_name,
    nas,
    strftime('%Y-%m-%dT%H:%M:%fZ', from_at / 1000000.0, 'unixepoch') AS from_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', to_at / 1000000.0, 'unixepoch') AS to_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', hour / 1000000.0, 'unixepoch') AS hour,
    CAST(input_octets * until AS INTEGER) - CAST(input_octets * since AS INTEGER) AS input_octets,
    CAST(output_octets * until AS INTEGER) - CAST(output_octets * since AS INTEGER) AS output_octets,
    CAST(session_time * until AS INTEGER) - CAST(session_time * since AS INTEGER) AS session_time
FROM shares;

CREATE VIEW report_usage_days AS
SELECT day, user_name, nas, input_octets, output_octets, input_packets, output_packets, session_time
FROM usage_daily;

CREATE VIEW report_usage_months AS
SELECT
    substr(day, 1, 7) || '-01' AS month,
    user_name,
    sum(input_octets) AS input_octets,
    sum(output_octets) AS output_octets,
    sum(session_time) AS session_time,
    count(DISTINCT day) AS days
FROM usage_daily
GROUP BY substr(day, 1, 7) || '-01', user_name;

CREATE VIEW report_session_changes AS
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1000000.0, 'unixepoch') AS at, 1 AS change, id AS session_id, user_name, nas
FROM sessions
WHERE started_at IS NOT NULL
UNION ALL
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', max(started_at, ended_at) / 1000000.0, 'unixepoch'), -1, id, user_name, nas
FROM sessions
WHERE started_at IS NOT NULL AND ended_at IS NOT NULL;

CREATE VIEW report_holds AS
SELECT
    id AS session_id,
    user_name,
    nas,
    calling_station_id,
    strftime('%Y-%m-%dT%H:%M:%fZ', accepted_at / 1000000.0, 'unixepoch') AS accepted_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(started_at, accepted_at) / 1000000.0, 'unixepoch') AS held_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', deadline / 1000000.0, 'unixepoch') AS deadline,
    coalesce(outcome, CASE state WHEN 'dropped' THEN 'never-started' WHEN 'closed' THEN 'ended' ELSE 'waiting' END) AS outcome,
    decision,
    decided_via,
    decided_by,
    strftime('%Y-%m-%dT%H:%M:%fZ', decided_at / 1000000.0, 'unixepoch') AS decided_at,
    max(round((decided_at - coalesce(started_at, accepted_at)) / 1000000.0, 3), 0.0) AS seconds_to_decide
FROM sessions
WHERE json_type(granted, '$.terms.hold') IS NOT NULL;

CREATE VIEW report_rejections AS
SELECT
    strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000000.0, 'unixepoch') AS at,
    user_name,
    nas,
    nas_address,
    calling_station_id,
    coalesce(nullif(calling_station_id, ''), nas_address) AS source,
    method,
    outcome AS reason
FROM auth_attempts
WHERE outcome <> 'accepted';

CREATE VIEW report_ghosts AS
SELECT
    id AS session_id,
    user_name,
    nas,
    acct_session_id,
    nas_port,
    strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1000000.0, 'unixepoch') AS started_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', heard_at / 1000000.0, 'unixepoch') AS heard_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', ended_at / 1000000.0, 'unixepoch') AS ended_at,
    end_cause,
    max((ended_at - heard_at) / 1000000, 0) AS silent_seconds,
    input_octets,
    output_octets
FROM sessions
WHERE end_cause NOT IN ('stop', 'never-started') AND ended_at IS NOT NULL;

CREATE VIEW report_nas_health AS
WITH clock AS (
    SELECT CAST(strftime('%s', 'now') AS INTEGER) * 1000000 AS now
),
open_sessions AS (
    SELECT
        nas,
        count(*) AS open,
        count(*) FILTER (WHERE state = 'held') AS held,
        count(*) FILTER (WHERE state = 'evicting') AS evicting,
        max(heard_at) AS heard_at
    FROM sessions
    WHERE state NOT IN ('dropped', 'closed')
    GROUP BY nas
),
recent_sessions AS (
    SELECT
        nas,
        count(*) FILTER (WHERE outcome IN ('not-lifted', 'nas-unreachable')) AS not_lifted,
        max(heard_at) AS heard_at
    FROM sessions
    WHERE accepted_at > (SELECT now FROM clock) - 86400000000
    GROUP BY nas
),
ghosts AS (
    SELECT nas, count(*) AS ghosts
    FROM sessions
    WHERE end_cause NOT IN ('stop', 'never-started') AND ended_at > (SELECT now FROM clock) - 86400000000
    GROUP BY nas
),
logins AS (
    SELECT nas, count(*) AS logins, count(*) FILTER (WHERE outcome <> 'accepted') AS rejected, max(at) AS heard_at
    FROM auth_attempts
    WHERE at > (SELECT now FROM clock) - 86400000000
    GROUP BY nas
),
orders AS (
    SELECT s.nas, count(*) AS waiting, min(o.ordered_at) AS oldest_at
    FROM outbox o JOIN sessions s ON s.id = o.session_id
    WHERE o.lane = 'nas'
    GROUP BY s.nas
),
known AS (
    SELECT name AS nas FROM nases
    UNION SELECT nas FROM open_sessions
    UNION SELECT nas FROM recent_sessions
    UNION SELECT nas FROM ghosts
    UNION SELECT nas FROM logins
),
heard AS (
    SELECT nas, max(heard_at) AS heard_at
    FROM (
        SELECT nas, heard_at FROM open_sessions
        UNION ALL SELECT nas, heard_at FROM recent_sessions
        UNION ALL SELECT nas, heard_at FROM logins
    )
    GROUP BY nas
)
SELECT
    known.nas,
    strftime('%Y-%m-%dT%H:%M:%fZ', heard.heard_at / 1000000.0, 'unixepoch') AS heard_at,
    max(((SELECT now FROM clock) - heard.heard_at) / 1000000, 0) AS silent_seconds,
    coalesce(open_sessions.open, 0) AS sessions_open,
    coalesce(open_sessions.held, 0) AS sessions_held,
    coalesce(open_sessions.evicting, 0) AS sessions_evicting,
    coalesce(logins.logins, 0) AS logins_24h,
    coalesce(logins.rejected, 0) AS rejected_24h,
    coalesce(recent_sessions.not_lifted, 0) AS not_lifted_24h,
    coalesce(ghosts.ghosts, 0) AS ghosts_24h,
    coalesce(orders.waiting, 0) AS orders_waiting,
    max(((SELECT now FROM clock) - orders.oldest_at) / 1000000, 0) AS oldest_order_seconds
FROM known
LEFT JOIN heard USING (nas)
LEFT JOIN open_sessions USING (nas)
LEFT JOIN recent_sessions USING (nas)
LEFT JOIN ghosts USING (nas)
LEFT JOIN logins USING (nas)
LEFT JOIN orders USING (nas);

CREATE VIEW report_quota AS
SELECT
    users.name AS user_name,
    months.month,
    users.monthly_quota,
    months.input_octets + months.output_octets AS used_octets,
    max(users.monthly_quota - months.input_octets - months.output_octets, 0) AS remaining_octets,
    round((months.input_octets + months.output_octets) * 100.0 / nullif(users.monthly_quota, 0), 1) AS used_percent
FROM users JOIN report_usage_months months ON months.user_name = users.name
WHERE users.monthly_quota IS NOT NULL;

CREATE VIEW report_quota_days AS
SELECT
    users.name AS user_name,
    substr(days.day, 1, 7) || '-01' AS month,
    days.day,
    users.monthly_quota,
    days.octets AS used_octets,
    sum(days.octets) OVER so_far AS used_so_far,
    max(users.monthly_quota - sum(days.octets) OVER so_far, 0) AS remaining_octets
FROM users
JOIN (
    SELECT user_name, day, sum(input_octets + output_octets) AS octets
    FROM report_usage_days
    GROUP BY user_name, day
) days ON days.user_name = users.name
WHERE users.monthly_quota IS NOT NULL
WINDOW so_far AS (PARTITION BY users.name, substr(days.day, 1, 7) ORDER BY days.day);
