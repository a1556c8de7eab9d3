-- Codes as a second factor: TOTP, recovery codes, emergency codes, and challenges that were answered.

CREATE TABLE totp (
    user_name    TEXT PRIMARY KEY NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    secret       TEXT NOT NULL,
    enrolled_at  INTEGER NOT NULL,
    confirmed_at INTEGER,
    last_step    INTEGER NOT NULL DEFAULT 0,
    minute_at    INTEGER NOT NULL DEFAULT 0,
    tries        INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE recovery_codes (
    user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    hash      TEXT NOT NULL,
    used_at   INTEGER,
    PRIMARY KEY (user_name, hash)
) STRICT;

CREATE TABLE emergency_codes (
    name        TEXT PRIMARY KEY NOT NULL,
    hash        TEXT NOT NULL UNIQUE,
    made_at     INTEGER NOT NULL,
    made_by     TEXT NOT NULL,
    valid_until INTEGER NOT NULL,
    uses_left   INTEGER NOT NULL CHECK (uses_left >= 0)
) STRICT;

CREATE TABLE answered_challenges (
    id         TEXT PRIMARY KEY NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX answered_challenges_by_expiry ON answered_challenges (expires_at);

ALTER TABLE users ADD COLUMN totp_in_password INTEGER CHECK (totp_in_password IN (0, 1));
ALTER TABLE nases ADD COLUMN codes TEXT NOT NULL DEFAULT '{}';
