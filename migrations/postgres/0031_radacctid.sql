-- The ids of sessions that are accounted for without Class begin with digits of Acct-Session-Id now (UUIDs of version 8), which sessions of
-- several NASes share: what tells them apart is at the end.
CREATE OR REPLACE VIEW report_radacct AS
SELECT
    (
        'x' || CASE substr(id::text, 15, 1)
            WHEN '8' THEN right(replace(id::text, '-', ''), 15)
            ELSE left(replace(id::text, '-', ''), 12) || substr(replace(id::text, '-', ''), 14, 3)
        END
    )::bit(60)::bigint AS radacctid,
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
        WHERE usage.user_name = sessions.user_name
          AND usage.session_id = sessions.id
          AND usage.to_at BETWEEN least(sessions.accepted_at, sessions.started_at) - interval '1 day' AND sessions.heard_at + interval '1 day'
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

COMMENT ON COLUMN report_radacct.radacctid IS
    'From the session''s id: nearly always unique, and grows with time where the session had an Access-Accept. acctuniqueid is always unique.';
