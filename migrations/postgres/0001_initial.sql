-- The first schema. Types are native, since people report from here; the report_* views are the public interface.

CREATE TABLE users (
    name            text PRIMARY KEY,
    credential      text NOT NULL,
    disabled        boolean NOT NULL,
    second_factor   text NOT NULL,
    approvers       jsonb NOT NULL,
    permit_filter   text,
    session_timeout interval,
    reject_delay    interval,
    reply           jsonb NOT NULL,
    created_at      timestamptz NOT NULL
);

COMMENT ON TABLE users IS 'Who may log in.';
COMMENT ON COLUMN users.credential IS 'Stored form of the password: argon2id PHC string, or sealed NT hash or password.';
COMMENT ON COLUMN users.second_factor IS 'required: sessions are held until somebody approves; none: the password is enough.';
COMMENT ON COLUMN users.approvers IS 'Who is asked, in order; empty is the server''s setting.';
COMMENT ON COLUMN users.reply IS 'Further attributes of the Access-Accept: [{"name": …, "value": …}].';

CREATE TABLE nases (
    name                          text PRIMARY KEY,
    network                       cidr NOT NULL,
    secret                        bytea NOT NULL,
    dialect                       text NOT NULL,
    require_message_authenticator boolean NOT NULL,
    limit_proxy_state             boolean NOT NULL,
    allow_ms_chap_v1              boolean NOT NULL,
    coa_address                   inet,
    coa_port                      bigint,
    coa_source_address            inet,
    coa_source_port               bigint,
    reject_delay                  interval,
    octet_direction               text NOT NULL,
    sandbox_filter                text,
    permit_filter                 text
);

COMMENT ON TABLE nases IS 'Who may send RADIUS packets.';
COMMENT ON COLUMN nases.network IS 'Source addresses it may send from; the longest matching network wins.';
COMMENT ON COLUMN nases.secret IS 'Shared secret, sealed by radhold.';

CREATE TABLE bindings (
    user_name text NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    approver  text NOT NULL,
    address   text NOT NULL,
    presser   text NOT NULL,
    bound_at  timestamptz NOT NULL,
    PRIMARY KEY (user_name, approver, address)
);

COMMENT ON TABLE bindings IS 'Where users can be asked.';
COMMENT ON COLUMN bindings.address IS 'For telegram the id of the chat.';
COMMENT ON COLUMN bindings.presser IS 'Who may press there; for telegram the user id.';

CREATE TABLE sessions (
    id                  uuid PRIMARY KEY,
    version             bigint NOT NULL,
    user_name           text NOT NULL,
    nas                 text NOT NULL,
    nas_address         inet NOT NULL,
    nas_port            bigint,
    nas_port_id         text,
    nas_ip_address      inet,
    nas_identifier      text,
    calling_station_id  text,
    called_station_id   text,
    acct_session_id     text,
    framed_ip           inet,
    framed_ipv6_prefix  inet,
    granted             jsonb,
    state               text NOT NULL,
    accepted_at         timestamptz NOT NULL,
    started_at          timestamptz,
    heard_at            timestamptz NOT NULL,
    deadline            timestamptz,
    permitted_at        timestamptz,
    evicting_since      timestamptz,
    disconnect_acked_at timestamptz,
    asks                jsonb NOT NULL,
    decision            text,
    decided_via         text,
    decided_by          text,
    decided_at          timestamptz,
    outcome             text,
    attempt             bigint NOT NULL,
    tries               bigint NOT NULL,
    retry_at            timestamptz,
    identify_fully      boolean NOT NULL,
    input_octets        bigint NOT NULL,
    output_octets       bigint NOT NULL,
    input_packets       bigint NOT NULL,
    output_packets      bigint NOT NULL,
    session_time        bigint NOT NULL,
    ended_at            timestamptz,
    end_cause           text,
    terminate_cause     bigint,
    wake_at             timestamptz
) WITH (fillfactor = 80); -- Interim-Updates change no indexed column: room for them on the row's own page.

COMMENT ON TABLE sessions IS 'Sessions, each from Access-Accept (or first Accounting-Request) to its end. Written by radhold alone, by compare-and-set on version.';
COMMENT ON COLUMN sessions.id IS 'What Class carries.';
COMMENT ON COLUMN sessions.nas IS 'Name of the NAS; its record may be gone.';
COMMENT ON COLUMN sessions.nas_address IS 'Where the packets of the NAS come from.';
COMMENT ON COLUMN sessions.nas_ip_address IS 'NAS-IP-Address or NAS-IPv6-Address as the NAS states it.';
COMMENT ON COLUMN sessions.acct_session_id IS 'Acct-Session-Id. NASes repeat it: not a key.';
COMMENT ON COLUMN sessions.framed_ipv6_prefix IS 'Framed-IPv6-Prefix as stated; inet, since a NAS may set bits beside the prefix.';
COMMENT ON COLUMN sessions.granted IS 'What the password was worth: filters and terms. Null for a session only heard of in accounting.';
COMMENT ON COLUMN sessions.state IS 'offered, held, permitting, permitted, evicting, dropped, closed or observed.';
COMMENT ON COLUMN sessions.heard_at IS 'When the NAS last spoke of it.';
COMMENT ON COLUMN sessions.deadline IS 'By when somebody must have said yes.';
COMMENT ON COLUMN sessions.permitted_at IS 'When it was lifted from the sandbox.';
COMMENT ON COLUMN sessions.disconnect_acked_at IS 'When the NAS last said it had ended it. Not proof.';
COMMENT ON COLUMN sessions.asks IS 'Who has been asked, in order, and how far that went.';
COMMENT ON COLUMN sessions.decision IS 'approved or denied.';
COMMENT ON COLUMN sessions.decided_via IS 'The approver (channel): telegram, operator.';
COMMENT ON COLUMN sessions.decided_by IS 'Who, in the channel''s terms: a Telegram user id, an operator''s login.';
COMMENT ON COLUMN sessions.outcome IS 'What the prompts say in the end.';
COMMENT ON COLUMN sessions.input_octets IS 'From the user (RFC 2866 §5.3), gigawords included.';
COMMENT ON COLUMN sessions.output_octets IS 'To the user (RFC 2866 §5.4), gigawords included.';
COMMENT ON COLUMN sessions.session_time IS 'Acct-Session-Time, seconds.';
COMMENT ON COLUMN sessions.end_cause IS 'How the end is known: stop, nas-restart, session-gone, stale, never-started.';
COMMENT ON COLUMN sessions.terminate_cause IS 'Acct-Terminate-Cause (RFC 2866 §5.10).';
COMMENT ON COLUMN sessions.wake_at IS 'When radhold next looks at it by itself.';

CREATE INDEX sessions_open_by_nas ON sessions (nas) WHERE state NOT IN ('dropped', 'closed');
CREATE INDEX sessions_open_by_wake ON sessions (wake_at, id) WHERE state NOT IN ('dropped', 'closed');
CREATE INDEX sessions_by_user ON sessions (user_name, accepted_at);
CREATE INDEX sessions_by_acct_session_id ON sessions (acct_session_id);
CREATE INDEX sessions_by_accepted_at ON sessions (accepted_at, id);

CREATE TABLE decisions (
    session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    decided_at timestamptz NOT NULL,
    verdict    text NOT NULL,
    approver   text NOT NULL,
    who        text NOT NULL,
    PRIMARY KEY (session_id, decided_at)
);

COMMENT ON TABLE decisions IS 'Who said what about a session, and when. One row each; a second one when an operator''s kick overrode a yes before Start.';

CREATE TABLE outbox (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id    uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    kind          text NOT NULL,
    lane          text NOT NULL,
    effect        jsonb NOT NULL,
    ordered_at    timestamptz NOT NULL,
    due_at        timestamptz NOT NULL,
    claimed_by    text,
    claimed_until timestamptz,
    attempts      bigint NOT NULL DEFAULT 0,
    postponed_for text
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000); -- Rows come and go all the time.

COMMENT ON TABLE outbox IS 'Orders not yet carried out: prompts, CoA-Requests, Disconnect-Requests, alerts.';
COMMENT ON COLUMN outbox.lane IS 'Whom it reaches: nas, or people.';
COMMENT ON COLUMN outbox.claimed_by IS 'The node that is at it; free again after claimed_until.';
COMMENT ON COLUMN outbox.postponed_for IS 'Why it was last put off.';

CREATE INDEX outbox_by_due ON outbox (lane, due_at, id);
CREATE INDEX outbox_by_session ON outbox (session_id);

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
    PRIMARY KEY (session_id, version)
);

COMMENT ON TABLE usage IS 'What sessions carried between two reports of the NAS. Outlives the session''s own row.';
COMMENT ON COLUMN usage.version IS 'The version of the session that this came with: each counts once.';

CREATE INDEX usage_by_time ON usage (to_at);
CREATE INDEX usage_by_user ON usage (user_name, to_at);

CREATE TABLE auth_attempts (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at                 timestamptz NOT NULL,
    user_name          text NOT NULL,
    nas                text NOT NULL,
    nas_address        inet NOT NULL,
    calling_station_id text,
    method             text NOT NULL,
    outcome            text NOT NULL,
    session_id         uuid
);

COMMENT ON TABLE auth_attempts IS 'Access-Requests that were answered.';
COMMENT ON COLUMN auth_attempts.user_name IS 'As given, whether there is such a user or not.';
COMMENT ON COLUMN auth_attempts.outcome IS 'accepted, or why not.';

CREATE INDEX auth_attempts_by_time ON auth_attempts (at, id);
CREATE INDEX auth_attempts_by_user ON auth_attempts (user_name, at);

CREATE TABLE cluster_secrets (
    name   text PRIMARY KEY,
    secret bytea NOT NULL
);

COMMENT ON TABLE cluster_secrets IS 'Keys that all nodes share.';

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
    accepted_at,
    started_at,
    permitted_at,
    heard_at,
    ended_at,
    end_cause,
    terminate_cause,
    floor(extract(epoch FROM coalesce(ended_at, heard_at) - started_at))::bigint AS duration_seconds,
    input_octets,
    output_octets,
    decision,
    decided_via,
    decided_by,
    decided_at,
    outcome
FROM sessions;

COMMENT ON VIEW report_sessions IS 'Sessions for people: who, where, when, how long, how much, and who let them in.';
COMMENT ON COLUMN report_sessions.duration_seconds IS 'From Start to the end, or to the last word of the NAS.';

CREATE VIEW report_usage AS
SELECT session_id, user_name, nas, from_at, to_at, input_octets, output_octets, input_packets, output_packets, session_time
FROM usage;

COMMENT ON VIEW report_usage IS 'What sessions carried between two reports of the NAS.';

CREATE VIEW report_auth_attempts AS
SELECT at, user_name, nas, nas_address, calling_station_id, method, outcome, session_id
FROM auth_attempts;

COMMENT ON VIEW report_auth_attempts IS 'Access-Requests that were answered, and how.';
