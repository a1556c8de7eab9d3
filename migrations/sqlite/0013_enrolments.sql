-- Enrolments, what a bot has heard already, notices of strikes, and where a decision came from.

CREATE TABLE enrolments (
    id            TEXT PRIMARY KEY NOT NULL,
    user_name     TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    approver      TEXT NOT NULL,
    -- SHA-256 of the token; the token itself is kept nowhere. Null: the person asked without a link.
    token_hash    BLOB UNIQUE,
    replace       INTEGER NOT NULL CHECK (replace IN (0, 1)),
    made_by       TEXT NOT NULL,
    made_at       INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    state         TEXT NOT NULL,
    address       TEXT,
    presser       TEXT,
    person        TEXT,
    language      TEXT,
    taken_at      INTEGER,
    told          INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1)),
    claimed_until INTEGER
) STRICT;

CREATE INDEX enrolments_by_expiry ON enrolments (expires_at);
CREATE INDEX enrolments_untold ON enrolments (taken_at) WHERE state = 'waiting' AND told = 0;

-- What a bot was told and is not to be done twice, for some days. Not done: begun, and to be done when it comes again.
CREATE TABLE heard_updates (
    channel TEXT NOT NULL,
    number  INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    done    INTEGER NOT NULL CHECK (done IN (0, 1)),
    PRIMARY KEY (channel, number)
) STRICT;

CREATE INDEX heard_updates_by_time ON heard_updates (at);

CREATE INDEX bindings_by_address ON bindings (approver, address);

ALTER TABLE strikes ADD COLUMN told INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1));
ALTER TABLE strikes ADD COLUMN claimed_until INTEGER;

-- Where a decision came from: the chats in which whoever pressed speaks for the user; for an administrator the chat that is
-- written behind their number.
DROP TRIGGER decisions_are_audited;

CREATE TRIGGER decisions_are_audited AFTER INSERT ON decisions
BEGIN
    INSERT INTO audit (at, who, through, origin, act, subject, detail)
    SELECT NEW.decided_at,
           CASE
               WHEN NEW.who LIKE 'telegram:%@%' THEN substr(NEW.who, 1, instr(NEW.who, '@') - 1)
               ELSE NEW.who
           END,
           CASE WHEN NEW.who LIKE 'telegram:%' THEN 'telegram' ELSE NEW.approver END,
           CASE
               WHEN NEW.who LIKE 'telegram:%@%' THEN 'chat ' || substr(NEW.who, instr(NEW.who, '@') + 1)
               WHEN NEW.who LIKE 'telegram:%' THEN 'chat ' || substr(NEW.who, 10)
               ELSE coalesce(
                   (SELECT group_concat('chat ' || address, ', ') FROM
                       (SELECT address FROM bindings
                        WHERE user_name = sessions.user_name AND approver = NEW.approver AND presser = NEW.who
                        ORDER BY address)),
                   CASE WHEN NEW.approver = 'telegram' THEN 'user ' || NEW.who ELSE '' END)
           END,
           'session.' || NEW.verdict, user_name,
           'session ' || id || ' on ' || nas || coalesce(' from ' || calling_station_id, '')
    FROM sessions WHERE id = NEW.session_id;
END;

-- What people are told waits in a lane of its own, behind what they are asked.
UPDATE outbox SET lane = 'notices' WHERE kind IN ('tell-approver', 'alert-operator');
