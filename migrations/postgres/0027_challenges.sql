-- An Access-Challenge that asks for a code decides nothing yet: it is no refusal, and its login is counted when the code is answered. One that
-- asks again (challenged-again) has refused a wrong code.

CREATE OR REPLACE VIEW report_rejections AS
SELECT
    at,
    user_name,
    nas,
    nas_address,
    calling_station_id,
    coalesce(nullif(calling_station_id, ''), host(nas_address)) AS source,
    method,
    outcome AS reason
FROM auth_attempts
WHERE outcome NOT IN ('accepted', 'challenged');

CREATE OR REPLACE VIEW report_nas_health AS
WITH open_sessions AS (
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
    WHERE accepted_at > now() - interval '24 hours'
    GROUP BY nas
),
ghosts AS (
    SELECT nas, count(*) AS ghosts
    FROM sessions
    WHERE end_cause NOT IN ('stop', 'never-started') AND ended_at > now() - interval '24 hours'
    GROUP BY nas
),
logins AS (
    SELECT
        nas,
        count(*) FILTER (WHERE outcome <> 'challenged') AS logins,
        count(*) FILTER (WHERE outcome NOT IN ('accepted', 'challenged')) AS rejected,
        max(at) AS heard_at
    FROM auth_attempts
    WHERE at > now() - interval '24 hours'
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
    ) AS signs
    GROUP BY nas
)
SELECT
    known.nas,
    heard.heard_at,
    CASE WHEN heard.heard_at IS NOT NULL THEN greatest(floor(extract(epoch FROM now() - heard.heard_at)), 0) END::bigint AS silent_seconds,
    coalesce(open_sessions.open, 0) AS sessions_open,
    coalesce(open_sessions.held, 0) AS sessions_held,
    coalesce(open_sessions.evicting, 0) AS sessions_evicting,
    coalesce(logins.logins, 0) AS logins_24h,
    coalesce(logins.rejected, 0) AS rejected_24h,
    coalesce(recent_sessions.not_lifted, 0) AS not_lifted_24h,
    coalesce(ghosts.ghosts, 0) AS ghosts_24h,
    coalesce(orders.waiting, 0) AS orders_waiting,
    CASE WHEN orders.waiting > 0 THEN greatest(floor(extract(epoch FROM now() - orders.oldest_at)), 0) END::bigint AS oldest_order_seconds
FROM known
LEFT JOIN heard USING (nas)
LEFT JOIN open_sessions USING (nas)
LEFT JOIN recent_sessions USING (nas)
LEFT JOIN ghosts USING (nas)
LEFT JOIN logins USING (nas)
LEFT JOIN orders USING (nas);

COMMENT ON COLUMN auth_attempts.outcome IS 'accepted; challenged, when a code was asked for; or why not.';
COMMENT ON VIEW report_rejections IS 'Logins that were refused, and why; a wrong code that is asked for again, too.';
COMMENT ON COLUMN report_nas_health.logins_24h IS 'Logins that were decided: an Access-Challenge that asks for a code is not counted, its answer is.';
