-- Codes as a second factor: TOTP, recovery codes, emergency codes, and challenges that were answered.

CREATE TABLE totp (
    user_name    text PRIMARY KEY REFERENCES users (name) ON DELETE CASCADE,
    secret       text NOT NULL,
    enrolled_at  timestamptz NOT NULL,
    confirmed_at timestamptz,
    last_step    bigint NOT NULL DEFAULT 0,
    minute_at    timestamptz NOT NULL DEFAULT 'epoch',
    tries        bigint NOT NULL DEFAULT 0
);

COMMENT ON TABLE totp IS 'Who has TOTP (RFC 6238).';
COMMENT ON COLUMN totp.secret IS 'Sealed with the sealing key.';
COMMENT ON COLUMN totp.confirmed_at IS 'When the first code was right; null: enrolled, and not used yet.';
COMMENT ON COLUMN totp.last_step IS 'The step of the last code that was accepted; only later ones are.';
COMMENT ON COLUMN totp.tries IS 'Codes tried since minute_at.';

CREATE TABLE recovery_codes (
    user_name text NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    hash      text NOT NULL,
    used_at   timestamptz,
    PRIMARY KEY (user_name, hash)
);

COMMENT ON TABLE recovery_codes IS 'Codes that stand for one of TOTP, once each. Hashed with the sealing key.';

CREATE TABLE emergency_codes (
    name        text PRIMARY KEY,
    hash        text NOT NULL UNIQUE,
    made_at     timestamptz NOT NULL,
    made_by     text NOT NULL,
    valid_until timestamptz NOT NULL,
    uses_left   bigint NOT NULL CHECK (uses_left >= 0)
);

COMMENT ON TABLE emergency_codes IS 'Codes of the operator that stand for the second factor of any user. Hashed with the sealing key.';

CREATE TABLE answered_challenges (
    id         text PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

COMMENT ON TABLE answered_challenges IS 'State of Access-Challenges that came back: each works once.';

CREATE INDEX answered_challenges_by_expiry ON answered_challenges (expires_at);

ALTER TABLE users ADD COLUMN totp_in_password boolean;
ALTER TABLE nases ADD COLUMN codes jsonb NOT NULL DEFAULT '{}';

COMMENT ON COLUMN users.totp_in_password IS 'Whether a code may stand behind the PAP password; null: as the NAS or the server says.';
COMMENT ON COLUMN nases.codes IS 'in_password, challenge, or_reject: where on this NAS a code is entered.';
