-- Enrolments, what a bot has heard already, notices of strikes, and where a decision came from.

CREATE TABLE enrolments (
    id            uuid PRIMARY KEY,
    user_name     text NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    approver      text NOT NULL,
    token_hash    bytea UNIQUE,
    replace       boolean NOT NULL,
    made_by       text NOT NULL,
    made_at       timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    state         text NOT NULL,
    address       text,
    presser       text,
    person        text,
    language      text,
    taken_at      timestamptz,
    told          boolean NOT NULL DEFAULT false,
    claimed_until timestamptz
);

COMMENT ON TABLE enrolments IS 'Links by which a chat is bound to a user, and chats that wait for an administrator.';
COMMENT ON COLUMN enrolments.token_hash IS 'SHA-256 of the token; the token itself is kept nowhere. Null: the person asked without a link.';
COMMENT ON COLUMN enrolments.replace IS 'The user''s other chats are unbound when this one is bound.';
COMMENT ON COLUMN enrolments.state IS 'open, waiting (for an administrator), bound, refused. Expiry is by time alone.';
COMMENT ON COLUMN enrolments.person IS 'What whoever took it calls themselves there.';
COMMENT ON COLUMN enrolments.told IS 'Administrators know that it waits.';

CREATE INDEX enrolments_by_expiry ON enrolments (expires_at);
CREATE INDEX enrolments_untold ON enrolments (taken_at) WHERE state = 'waiting' AND NOT told;

CREATE TABLE heard_updates (
    channel text NOT NULL,
    number  bigint NOT NULL,
    at      timestamptz NOT NULL,
    done    boolean NOT NULL,
    PRIMARY KEY (channel, number)
);

COMMENT ON TABLE heard_updates IS 'What a bot was told and is not to be done twice, for some days. Not done: begun, and to be done when it comes again.';

CREATE INDEX heard_updates_by_time ON heard_updates (at);

CREATE INDEX bindings_by_address ON bindings (approver, address);

ALTER TABLE strikes ADD COLUMN told boolean NOT NULL DEFAULT false;
ALTER TABLE strikes ADD COLUMN claimed_until timestamptz;

COMMENT ON COLUMN strikes.told IS 'Administrators were told.';

-- Where a decision came from: the chats in which whoever pressed speaks for the user; for an administrator the chat that is
-- written behind their number.
CREATE OR REPLACE FUNCTION audit_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit (at, who, through, origin, act, subject, detail)
    SELECT NEW.decided_at,
           CASE WHEN NEW.who LIKE 'telegram:%' THEN split_part(NEW.who, '@', 1) ELSE NEW.who END,
           CASE WHEN NEW.who LIKE 'telegram:%' THEN 'telegram' ELSE NEW.approver END,
           CASE
               WHEN NEW.who LIKE 'telegram:%@%' THEN 'chat ' || split_part(NEW.who, '@', 2)
               WHEN NEW.who LIKE 'telegram:%' THEN 'chat ' || split_part(NEW.who, ':', 2)
               ELSE coalesce(
                   (SELECT string_agg('chat ' || b.address, ', ' ORDER BY b.address COLLATE "C") FROM bindings b
                    WHERE b.user_name = s.user_name AND b.approver = NEW.approver AND b.presser = NEW.who),
                   CASE WHEN NEW.approver = 'telegram' THEN 'user ' || NEW.who ELSE '' END)
           END,
           'session.' || NEW.verdict, s.user_name,
           'session ' || s.id || ' on ' || s.nas || coalesce(' from ' || s.calling_station_id, '')
    FROM sessions s WHERE s.id = NEW.session_id;
    RETURN NULL;
END
$$;

-- What people are told waits in a lane of its own, behind what they are asked.
UPDATE outbox SET lane = 'notices' WHERE kind IN ('tell-approver', 'alert-operator');
COMMENT ON COLUMN outbox.lane IS 'Whom it reaches: nas, people (who are asked), or notices (for people).';
