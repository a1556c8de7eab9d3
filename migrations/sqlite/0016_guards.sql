-- Guards around a prompt: prompts of the last hour, notices of too many, and approvals that are remembered.

CREATE TABLE prompts (
    session_id TEXT PRIMARY KEY NOT NULL,
    user_name  TEXT NOT NULL,
    nas        TEXT NOT NULL,
    caller     TEXT NOT NULL,
    port       TEXT,
    asked_at   INTEGER NOT NULL,
    deadline   INTEGER NOT NULL,
    ended_at   INTEGER,
    fate       TEXT,
    changed_at INTEGER NOT NULL
) STRICT;

CREATE INDEX prompts_by_change ON prompts (changed_at);

CREATE TABLE prompt_notices (
    user_name TEXT PRIMARY KEY NOT NULL,
    at        INTEGER NOT NULL
) STRICT;

CREATE TABLE trusts (
    user_name  TEXT NOT NULL,
    place      TEXT NOT NULL,
    session_id TEXT NOT NULL,
    since      INTEGER NOT NULL,
    until      INTEGER NOT NULL,
    through    TEXT NOT NULL,
    who        TEXT NOT NULL,
    revoked_at INTEGER,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (user_name, place)
) STRICT;

CREATE INDEX trusts_by_change ON trusts (changed_at);

-- Approvals of a user up to a time count no more.
CREATE TABLE trust_voids (
    user_name  TEXT PRIMARY KEY NOT NULL,
    up_to      INTEGER NOT NULL,
    why        TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;

CREATE INDEX trust_voids_by_change ON trust_voids (changed_at);

CREATE TRIGGER trusts_are_audited AFTER INSERT ON trusts
BEGIN
    INSERT INTO audit (at, who, through, origin, act, subject, detail)
    VALUES (NEW.since, NEW.who, NEW.through, '', 'trust.add', NEW.user_name,
            NEW.place || ', until ' || strftime('%Y-%m-%dT%H:%M:%SZ', NEW.until / 1000000, 'unixepoch'));
END;

CREATE TRIGGER trusts_renewed_are_audited AFTER UPDATE OF since ON trusts WHEN NEW.since > OLD.since
BEGIN
    INSERT INTO audit (at, who, through, origin, act, subject, detail)
    VALUES (NEW.since, NEW.who, NEW.through, '', 'trust.add', NEW.user_name,
            NEW.place || ', until ' || strftime('%Y-%m-%dT%H:%M:%SZ', NEW.until / 1000000, 'unixepoch'));
END;

-- What is taken back by a person or an operator is on record with that act.
CREATE TRIGGER trust_voids_are_audited AFTER INSERT ON trust_voids WHEN NEW.why <> 'revoked'
BEGIN
    INSERT INTO audit (at, who, through, origin, act, subject, detail)
    SELECT NEW.up_to, 'radhold', 'server', '', 'trust.revoke', NEW.user_name, place || ': ' || NEW.why
    FROM trusts WHERE user_name = NEW.user_name AND revoked_at IS NULL AND since <= NEW.up_to AND until > NEW.up_to;
END;

CREATE TRIGGER trust_voids_renewed_are_audited AFTER UPDATE ON trust_voids WHEN NEW.why <> 'revoked' AND NEW.up_to > OLD.up_to
BEGIN
    INSERT INTO audit (at, who, through, origin, act, subject, detail)
    SELECT NEW.up_to, 'radhold', 'server', '', 'trust.revoke', NEW.user_name, place || ': ' || NEW.why
    FROM trusts WHERE user_name = NEW.user_name AND revoked_at IS NULL
        AND since > OLD.up_to AND since <= NEW.up_to AND until > NEW.up_to;
END;

-- A new password, somebody who is gone, a phone that is bound no more: whoever comes next is asked.
CREATE TRIGGER trust_ends_with_the_password AFTER UPDATE OF credential ON users WHEN OLD.credential <> NEW.credential
BEGIN
    INSERT INTO trust_voids (user_name, up_to, why, changed_at)
    VALUES (NEW.name, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) + 1000, 'the password was changed',
            CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) + 1000)
    ON CONFLICT (user_name) DO UPDATE
    SET up_to = max(trust_voids.up_to, excluded.up_to), why = excluded.why, changed_at = excluded.changed_at;
END;

CREATE TRIGGER trust_ends_with_the_user AFTER DELETE ON users
BEGIN
    INSERT INTO trust_voids (user_name, up_to, why, changed_at)
    VALUES (OLD.name, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) + 1000, 'the user was removed',
            CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) + 1000)
    ON CONFLICT (user_name) DO UPDATE
    SET up_to = max(trust_voids.up_to, excluded.up_to), why = excluded.why, changed_at = excluded.changed_at;
END;

CREATE TRIGGER trust_ends_with_the_binding AFTER DELETE ON bindings
BEGIN
    INSERT INTO trust_voids (user_name, up_to, why, changed_at)
    VALUES (OLD.user_name, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) + 1000, 'a chat was unbound',
            CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) + 1000)
    ON CONFLICT (user_name) DO UPDATE
    SET up_to = max(trust_voids.up_to, excluded.up_to), why = excluded.why, changed_at = excluded.changed_at;
END;

CREATE VIEW report_trusts AS
SELECT
    trusts.user_name,
    place,
    strftime('%Y-%m-%dT%H:%M:%fZ', since / 1000000.0, 'unixepoch') AS since,
    strftime('%Y-%m-%dT%H:%M:%fZ', until / 1000000.0, 'unixepoch') AS until,
    through,
    who,
    session_id,
    revoked_at IS NOT NULL OR coalesce(up_to >= since, 0) AS revoked
FROM trusts LEFT JOIN trust_voids ON trust_voids.user_name = trusts.user_name;

ALTER TABLE users ADD COLUMN guards TEXT NOT NULL DEFAULT '{}';
ALTER TABLE nases ADD COLUMN guards TEXT NOT NULL DEFAULT '{}';
