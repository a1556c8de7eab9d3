-- Strikes, bans, wrong passwords and the audit record.

CREATE TABLE strikes (
    -- A hold ends once, and is one strike at most.
    session_id TEXT PRIMARY KEY NOT NULL,
    at         INTEGER NOT NULL,
    user_name  TEXT NOT NULL,
    nas        TEXT NOT NULL,
    caller     TEXT,
    why        TEXT NOT NULL
) STRICT;

CREATE INDEX strikes_by_time ON strikes (at);

CREATE TABLE bans (
    kind      TEXT NOT NULL,
    value     TEXT NOT NULL,
    since     INTEGER NOT NULL,
    until     INTEGER,
    lifted_at INTEGER,
    reason    TEXT NOT NULL,
    set_by    TEXT NOT NULL,
    automatic INTEGER NOT NULL CHECK (automatic IN (0, 1)),
    forced    INTEGER NOT NULL CHECK (forced IN (0, 1)),
    PRIMARY KEY (kind, value)
) STRICT;

-- Addresses whose ban has changed and whose NASes are to be told. What to tell them is what the ban is then.
CREATE TABLE ban_notices (
    address       TEXT PRIMARY KEY NOT NULL,
    -- Raised with each change, so that a change that comes amid the telling is told too.
    generation    INTEGER NOT NULL,
    told          TEXT NOT NULL,
    due_at        INTEGER NOT NULL,
    attempts      INTEGER NOT NULL,
    claimed_by    TEXT,
    claimed_until INTEGER
) STRICT;

CREATE INDEX ban_notices_by_due ON ban_notices (due_at);

CREATE TABLE login_failures (
    account    TEXT NOT NULL,
    caller     TEXT NOT NULL,
    failures   INTEGER NOT NULL,
    last_at    INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (account, caller)
) STRICT;

CREATE INDEX login_failures_by_change ON login_failures (changed_at);

CREATE INDEX sessions_by_permitted_at ON sessions (permitted_at) WHERE permitted_at IS NOT NULL;

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    who     TEXT NOT NULL,
    through TEXT NOT NULL,
    origin  TEXT NOT NULL,
    act     TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL
) STRICT;

CREATE INDEX audit_by_time ON audit (at);

-- What may go, while it goes: a row here exists within the transaction that prunes, and for nobody else.
CREATE TABLE audit_pruning (before INTEGER NOT NULL) STRICT;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit record is append-only');
END;

CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
WHEN NOT EXISTS (SELECT 1 FROM audit_pruning WHERE OLD.at < before)
BEGIN
    SELECT RAISE(ABORT, 'the audit record is append-only');
END;

CREATE TRIGGER decisions_are_audited AFTER INSERT ON decisions
BEGIN
    INSERT INTO audit (at, who, through, origin, act, subject, detail)
    SELECT NEW.decided_at, NEW.who, NEW.approver, '', 'session.' || NEW.verdict, user_name,
           'session ' || id || ' on ' || nas || coalesce(' from ' || calling_station_id, '')
    FROM sessions WHERE id = NEW.session_id;
END;

CREATE VIEW report_strikes AS
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000000.0, 'unixepoch') AS at, user_name, nas, caller, why, session_id
FROM strikes;

CREATE VIEW report_bans AS
SELECT
    kind,
    value,
    strftime('%Y-%m-%dT%H:%M:%fZ', since / 1000000.0, 'unixepoch') AS since,
    strftime('%Y-%m-%dT%H:%M:%fZ', until / 1000000.0, 'unixepoch') AS until,
    strftime('%Y-%m-%dT%H:%M:%fZ', lifted_at / 1000000.0, 'unixepoch') AS lifted_at,
    reason,
    set_by,
    automatic
FROM bans;

CREATE VIEW report_audit AS
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000000.0, 'unixepoch') AS at, who, through, origin, act, subject, detail
FROM audit;

ALTER TABLE nases ADD COLUMN allow_callers TEXT NOT NULL DEFAULT '[]';
ALTER TABLE nases ADD COLUMN deny_callers TEXT NOT NULL DEFAULT '[]';
