-- What people report from: the report_* views, which docs/reporting.md describes and promises. Hours are UTC's; days and months go
-- by accounting.utc_offset, as usage.day does.

ALTER TABLE users ADD COLUMN monthly_quota bigint;
COMMENT ON COLUMN users.monthly_quota IS 'Octets a month, both directions together, for reports. Nothing is refused or ended when it is used up.';

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
    started_at,
    heard_at,
    deadline,
    greatest(floor(extract(epoch FROM now() - started_at)), 0)::bigint AS online_seconds,
    greatest(floor(extract(epoch FROM now() - heard_at)), 0)::bigint AS silent_seconds,
    input_octets,
    output_octets
FROM sessions
WHERE state NOT IN ('dropped', 'closed') AND started_at IS NOT NULL;

COMMENT ON VIEW report_online IS 'Sessions that are on their NAS now, as far as we were told.';
COMMENT ON COLUMN report_online.silent_seconds IS 'Since the NAS last spoke of it.';

-- An interval that crosses a full hour is split in proportion to time. Each share is the difference of two roundings of
-- the whole, so that the shares add up to the octet.
CREATE VIEW report_usage_hours AS
SELECT
    u.session_id,
    u.user_name,
    u.nas,
    u.from_at,
    u.to_at,
    h.hour,
    (floor(u.input_octets * p.until) - floor(u.input_octets * p.since))::bigint AS input_octets,
    (floor(u.output_octets * p.until) - floor(u.output_octets * p.since))::bigint AS output_octets,
    (floor(u.session_time * p.until) - floor(u.session_time * p.since))::bigint AS session_time
FROM usage u
CROSS JOIN LATERAL generate_series(
    date_trunc('hour', u.from_at, 'UTC'),
    greatest(u.from_at, u.to_at - interval '1 microsecond'),
    interval '1 hour'
) AS h (hour)
CROSS JOIN LATERAL (
    SELECT
        CASE
            WHEN h.hour <= u.from_at THEN 0
            ELSE extract(epoch FROM h.hour - u.from_at) / extract(epoch FROM u.to_at - u.from_at)
        END AS since,
        CASE
            WHEN h.hour + interval '1 hour' >= u.to_at THEN 1
            ELSE extract(epoch FROM h.hour + interval '1 hour' - u.from_at) / extract(epoch FROM u.to_at - u.from_at)
        END AS until
) AS p;

COMMENT ON VIEW report_usage_hours IS 'Usage by the hour: each interval between two reports of a NAS, split in proportion to time where it crosses a full hour.';
COMMENT ON COLUMN report_usage_hours.to_at IS 'End of the interval. With a condition on hour, add one on this (to_at > the earliest hour): it has an index.';

CREATE VIEW report_usage_days AS
SELECT day, user_name, nas, input_octets, output_octets, input_packets, output_packets, session_time
FROM usage_daily;

COMMENT ON VIEW report_usage_days IS 'Usage by day, user and NAS; of times whose intervals are no longer kept, too.';
COMMENT ON COLUMN report_usage_days.day IS 'A day by accounting.utc_offset.';

CREATE VIEW report_usage_months AS
SELECT
    date_trunc('month', day::timestamp)::date AS month,
    user_name,
    sum(input_octets)::bigint AS input_octets,
    sum(output_octets)::bigint AS output_octets,
    sum(session_time)::bigint AS session_time,
    count(DISTINCT day) AS days
FROM usage_daily
GROUP BY date_trunc('month', day::timestamp)::date, user_name;

COMMENT ON VIEW report_usage_months IS 'Usage by month and user.';
COMMENT ON COLUMN report_usage_months.month IS 'Its first day.';
COMMENT ON COLUMN report_usage_months.days IS 'On how many days of it there was any.';

CREATE VIEW report_session_changes AS
SELECT started_at AS at, 1 AS change, id AS session_id, user_name, nas
FROM sessions
WHERE started_at IS NOT NULL
UNION ALL
SELECT greatest(started_at, ended_at), -1, id, user_name, nas
FROM sessions
WHERE started_at IS NOT NULL AND ended_at IS NOT NULL;

COMMENT ON VIEW report_session_changes IS 'One row more where a session started (1) and where it ended (-1): their running sum is how many there were at once.';

CREATE VIEW report_holds AS
SELECT
    id AS session_id,
    user_name,
    nas,
    calling_station_id,
    accepted_at,
    coalesce(started_at, accepted_at) AS held_at,
    deadline,
    coalesce(outcome, CASE state WHEN 'dropped' THEN 'never-started' WHEN 'closed' THEN 'ended' ELSE 'waiting' END) AS outcome,
    decision,
    decided_via,
    decided_by,
    decided_at,
    -- greatest() passes over nulls, and no answer is not an answer at once.
    CASE
        WHEN decided_at IS NOT NULL
            THEN greatest(round(extract(epoch FROM decided_at - coalesce(started_at, accepted_at)), 3), 0)::double precision
    END AS seconds_to_decide
FROM sessions
WHERE granted -> 'terms' ? 'hold';

COMMENT ON VIEW report_holds IS 'Sessions of which a second factor was demanded, and what became of that.';
COMMENT ON COLUMN report_holds.outcome IS 'waiting, permitted, nas-unreachable, denied, expired, not-lifted, disconnected, kicked, ended, never-started.';
COMMENT ON COLUMN report_holds.seconds_to_decide IS 'From Start to the answer; 0 when the answer came first, null when none came.';

CREATE VIEW report_rejections AS
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
WHERE outcome <> 'accepted';

COMMENT ON VIEW report_rejections IS 'Logins that were refused, and why.';
COMMENT ON COLUMN report_rejections.source IS 'Calling-Station-Id, or where the NAS''s packets come from when it gave none.';

CREATE VIEW report_ghosts AS
SELECT
    id AS session_id,
    user_name,
    nas,
    acct_session_id,
    nas_port,
    started_at,
    heard_at,
    ended_at,
    end_cause,
    greatest(floor(extract(epoch FROM ended_at - heard_at)), 0)::bigint AS silent_seconds,
    input_octets,
    output_octets
FROM sessions
WHERE end_cause NOT IN ('stop', 'never-started') AND ended_at IS NOT NULL;

COMMENT ON VIEW report_ghosts IS 'Sessions that ended without a Stop: closed by us, for the reason end_cause gives.';
COMMENT ON COLUMN report_ghosts.silent_seconds IS 'From the last word of the NAS to the end we gave it.';

CREATE VIEW report_nas_health AS
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
    SELECT nas, count(*) AS logins, count(*) FILTER (WHERE outcome <> 'accepted') AS rejected, max(at) AS heard_at
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

COMMENT ON VIEW report_nas_health IS 'How each NAS is doing: when it was last heard, and what went wrong with it in the last 24 hours.';
COMMENT ON COLUMN report_nas_health.heard_at IS 'Its latest packet that concerns an open session, or one of the last 24 hours. Null when there was none.';
COMMENT ON COLUMN report_nas_health.not_lifted_24h IS 'Approved sessions that it did not let through.';
COMMENT ON COLUMN report_nas_health.ghosts_24h IS 'Sessions that ended without its Stop.';
COMMENT ON COLUMN report_nas_health.orders_waiting IS 'CoA-Requests and Disconnect-Requests not yet done.';

CREATE VIEW report_quota AS
SELECT
    users.name AS user_name,
    months.month,
    users.monthly_quota,
    months.input_octets + months.output_octets AS used_octets,
    greatest(users.monthly_quota - months.input_octets - months.output_octets, 0) AS remaining_octets,
    round((months.input_octets + months.output_octets) * 100.0 / nullif(users.monthly_quota, 0), 1)::double precision AS used_percent
FROM users JOIN report_usage_months months ON months.user_name = users.name
WHERE users.monthly_quota IS NOT NULL;

COMMENT ON VIEW report_quota IS 'Users with a monthly quota, and what they used of today''s quota in each month they used anything in. Informs; nothing is enforced.';

CREATE VIEW report_quota_days AS
SELECT
    users.name AS user_name,
    date_trunc('month', days.day::timestamp)::date AS month,
    days.day,
    users.monthly_quota,
    days.octets AS used_octets,
    (sum(days.octets) OVER so_far)::bigint AS used_so_far,
    greatest(users.monthly_quota - sum(days.octets) OVER so_far, 0)::bigint AS remaining_octets
FROM users
JOIN (
    SELECT user_name, day, sum(input_octets + output_octets)::bigint AS octets
    FROM report_usage_days
    GROUP BY user_name, day
) days ON days.user_name = users.name
WHERE users.monthly_quota IS NOT NULL
WINDOW so_far AS (PARTITION BY users.name, date_trunc('month', days.day::timestamp)::date ORDER BY days.day);

COMMENT ON VIEW report_quota_days IS 'The burn-down of monthly quotas: what was left after each day with usage.';

-- FreeRADIUS 3.2's table radacct, column by column (its schema.sql for PostgreSQL), so that reports written for it go on.
CREATE VIEW report_radacct AS
SELECT
    ('x' || left(replace(id::text, '-', ''), 12) || substr(replace(id::text, '-', ''), 14, 3))::bit(60)::bigint AS radacctid,
    coalesce(acct_session_id, '') AS acctsessionid,
    replace(id::text, '-', '') AS acctuniqueid,
    user_name AS username,
    NULL::text AS realm,
    coalesce(nas_ip_address, nas_address) AS nasipaddress,
    coalesce(nas_port_id, nas_port::text) AS nasportid,
    NULL::text AS nasporttype,
    started_at AS acctstarttime,
    heard_at AS acctupdatetime,
    ended_at AS acctstoptime,
    (
        SELECT round(extract(epoch FROM usage.to_at - usage.from_at))::bigint
        FROM usage
        WHERE usage.session_id = sessions.id
        ORDER BY usage.to_at DESC
        LIMIT 1
    ) AS acctinterval,
    CASE
        WHEN ended_at IS NOT NULL AND end_cause <> 'stop' AND started_at IS NOT NULL
            THEN greatest(session_time, round(extract(epoch FROM ended_at - started_at))::bigint)
        ELSE session_time
    END AS acctsessiontime,
    NULL::text AS acctauthentic,
    NULL::text AS connectinfo_start,
    NULL::text AS connectinfo_stop,
    input_octets AS acctinputoctets,
    output_octets AS acctoutputoctets,
    coalesce(called_station_id, '') AS calledstationid,
    coalesce(calling_station_id, '') AS callingstationid,
    CASE
        WHEN ended_at IS NULL THEN NULL
        WHEN terminate_cause BETWEEN 1 AND 22 THEN (ARRAY[
            'User-Request', 'Lost-Carrier', 'Lost-Service', 'Idle-Timeout', 'Session-Timeout', 'Admin-Reset',
            'Admin-Reboot', 'Port-Error', 'NAS-Error', 'NAS-Request', 'NAS-Reboot', 'Port-Unneeded',
            'Port-Preempted', 'Port-Suspended', 'Service-Unavailable', 'Callback', 'User-Error', 'Host-Request',
            'Supplicant-Restart', 'Reauthentication-Failure', 'Port-Reinit', 'Port-Disabled'])[terminate_cause]
        WHEN terminate_cause IS NOT NULL THEN terminate_cause::text
        WHEN end_cause = 'nas-restart' THEN 'NAS-Reboot'
        WHEN end_cause = 'stop' THEN ''
        ELSE end_cause
    END AS acctterminatecause,
    NULL::text AS servicetype,
    NULL::text AS framedprotocol,
    framed_ip AS framedipaddress,
    NULL::inet AS framedipv6address,
    framed_ipv6_prefix AS framedipv6prefix,
    NULL::text AS framedinterfaceid,
    NULL::inet AS delegatedipv6prefix,
    NULL::text AS class
FROM sessions
WHERE state NOT IN ('offered', 'dropped');

COMMENT ON VIEW report_radacct IS 'Sessions in the shape of FreeRADIUS 3.2''s table radacct. What we do not keep of a packet is null.';
COMMENT ON COLUMN report_radacct.radacctid IS 'From the session''s id: grows with time, and is nearly always unique. acctuniqueid always is.';
COMMENT ON COLUMN report_radacct.acctuniqueid IS 'Ours, not the digest FreeRADIUS makes.';

-- Under the name reports look for, unless FreeRADIUS's own table has it.
DO $$
BEGIN
    IF to_regclass('radacct') IS NULL THEN
        CREATE VIEW radacct AS SELECT * FROM report_radacct;
        COMMENT ON VIEW radacct IS 'report_radacct, under the name that reports written for FreeRADIUS look for.';
    END IF;
END
$$;
