-- The first schema. Times are microseconds since 1970-01-01T00:00:00Z, spans are microseconds, addresses and networks are
-- text as RFC 5952 writes them, structures are JSON. The views show times as RFC 3339.

CREATE TABLE users (
    name            TEXT PRIMARY KEY NOT NULL,
    credential      TEXT NOT NULL,
    disabled        INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    second_factor   TEXT NOT NULL,
    approvers       TEXT NOT NULL,
    permit_filter   TEXT,
    session_timeout INTEGER,
    reject_delay    INTEGER,
    reply           TEXT NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT;

CREATE TABLE nases (
    name                          TEXT PRIMARY KEY NOT NULL,
    network                       TEXT NOT NULL,
    secret                        BLOB NOT NULL,
    dialect                       TEXT NOT NULL,
    require_message_authenticator INTEGER NOT NULL CHECK (require_message_authenticator IN (0, 1)),
    limit_proxy_state             INTEGER NOT NULL CHECK (limit_proxy_state IN (0, 1)),
    allow_ms_chap_v1              INTEGER NOT NULL CHECK (allow_ms_chap_v1 IN (0, 1)),
    coa_address                   TEXT,
    coa_port                      INTEGER,
    coa_source_address            TEXT,
    coa_source_port               INTEGER,
    reject_delay                  INTEGER,
    octet_direction               TEXT NOT NULL,
    sandbox_filter                TEXT,
    permit_filter                 TEXT
) STRICT;

CREATE TABLE bindings (
    user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    approver  TEXT NOT NULL,
    address   TEXT NOT NULL,
    presser   TEXT NOT NULL,
    bound_at  INTEGER NOT NULL,
    PRIMARY KEY (user_name, approver, address)
) STRICT;

CREATE TABLE sessions (
    id                  TEXT PRIMARY KEY NOT NULL,
    version             INTEGER NOT NULL,
    user_name           TEXT NOT NULL,
    nas                 TEXT NOT NULL,
    nas_address         TEXT NOT NULL,
    nas_port            INTEGER,
    nas_port_id         TEXT,
    nas_ip_address      TEXT,
    nas_identifier      TEXT,
    calling_station_id  TEXT,
    called_station_id   TEXT,
    acct_session_id     TEXT,
    framed_ip           TEXT,
    framed_ipv6_prefix  TEXT,
    granted             TEXT,
    state               TEXT NOT NULL,
    accepted_at         INTEGER NOT NULL,
    started_at          INTEGER,
    heard_at            INTEGER NOT NULL,
    deadline            INTEGER,
    permitted_at        INTEGER,
    evicting_since      INTEGER,
    disconnect_acked_at INTEGER,
    asks                TEXT NOT NULL,
    decision            TEXT,
    decided_via         TEXT,
    decided_by          TEXT,
    decided_at          INTEGER,
    outcome             TEXT,
    attempt             INTEGER NOT NULL,
    tries               INTEGER NOT NULL,
    retry_at            INTEGER,
    identify_fully      INTEGER NOT NULL CHECK (identify_fully IN (0, 1)),
    input_octets        INTEGER NOT NULL,
    output_octets       INTEGER NOT NULL,
    input_packets       INTEGER NOT NULL,
    output_packets      INTEGER NOT NULL,
    session_time        INTEGER NOT NULL,
    ended_at            INTEGER,
    end_cause           TEXT,
    terminate_cause     INTEGER,
    wake_at             INTEGER
) STRICT;

CREATE INDEX sessions_open_by_nas ON sessions (nas) WHERE state NOT IN ('dropped', 'closed');
CREATE INDEX sessions_open_by_wake ON sessions (wake_at) WHERE state NOT IN ('dropped', 'closed');
CREATE INDEX sessions_by_user ON sessions (user_name, accepted_at);
CREATE INDEX sessions_by_acct_session_id ON sessions (acct_session_id);
CREATE INDEX sessions_by_accepted_at ON sessions (accepted_at);

CREATE TABLE decisions (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    decided_at INTEGER NOT NULL,
    verdict    TEXT NOT NULL,
    approver   TEXT NOT NULL,
    who        TEXT NOT NULL,
    PRIMARY KEY (session_id, decided_at)
) STRICT;

CREATE TABLE outbox (
    -- AUTOINCREMENT: the number of an order that is done is never given to another.
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id    TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    kind          TEXT NOT NULL,
    lane          TEXT NOT NULL,
    effect        TEXT NOT NULL,
    ordered_at    INTEGER NOT NULL,
    due_at        INTEGER NOT NULL,
    claimed_by    TEXT,
    claimed_until INTEGER,
    attempts      INTEGER NOT NULL DEFAULT 0,
    postponed_for TEXT
) STRICT;

CREATE INDEX outbox_by_due ON outbox (lane, due_at, id);
CREATE INDEX outbox_by_session ON outbox (session_id);

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
    PRIMARY KEY (session_id, version)
) STRICT;

CREATE INDEX usage_by_time ON usage (to_at);

CREATE TABLE auth_attempts (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    at                 INTEGER NOT NULL,
    user_name          TEXT NOT NULL,
    nas                TEXT NOT NULL,
    nas_address        TEXT NOT NULL,
    calling_station_id TEXT,
    method             TEXT NOT NULL,
    outcome            TEXT NOT NULL,
    session_id         TEXT
) STRICT;

CREATE INDEX auth_attempts_by_time ON auth_attempts (at);

CREATE TABLE cluster_secrets (
    name   TEXT PRIMARY KEY NOT NULL,
    secret BLOB NOT NULL
) STRICT;

CREATE VIEW report_sessions AS
SELECT
    id AS session_id,
    user_name,
    nas,
    nas_address,
    calling_station_id,
    called_station_id,
    acct_session_id,
    framed_ip,
    framed_ipv6_prefix,
    state,
    strftime('%Y-%m-%dT%H:%M:%fZ', accepted_at / 1000000.0, 'unixepoch') AS accepted_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1000000.0, 'unixepoch') AS started_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', permitted_at / 1000000.0, 'unixepoch') AS permitted_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', heard_at / 1000000.0, 'unixepoch') AS heard_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', ended_at / 1000000.0, 'unixepoch') AS ended_at,
    end_cause,
    terminate_cause,
    (coalesce(ended_at, heard_at) - started_at) / 1000000 AS duration_seconds,
    input_octets,
    output_octets,
    decision,
    decided_via,
    decided_by,
    strftime('%Y-%m-%dT%H:%M:%fZ', decided_at / 1000000.0, 'unixepoch') AS decided_at,
    outcome
FROM sessions;

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
    session_time
FROM usage;

CREATE VIEW report_auth_attempts AS
SELECT
    strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000000.0, 'unixepoch') AS at,
    user_name,
    nas,
    nas_address,
    calling_station_id,
    method,
    outcome,
    session_id
FROM auth_attempts;
