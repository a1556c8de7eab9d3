-- Guards around a prompt: prompts of the last hour, notices of too many, and approvals that are remembered.

CREATE TABLE prompts (
    session_id uuid PRIMARY KEY,
    user_name  text NOT NULL,
    nas        text NOT NULL,
    caller     text NOT NULL,
    port       text,
    asked_at   timestamptz NOT NULL,
    deadline   timestamptz NOT NULL,
    ended_at   timestamptz,
    fate       text,
    changed_at timestamptz NOT NULL
);

COMMENT ON TABLE prompts IS 'Holds somebody''s own device is asked about, of the last hours.';
COMMENT ON COLUMN prompts.caller IS 'What the caller is counted under; empty where the NAS does not say.';
COMMENT ON COLUMN prompts.fate IS 'confirmed, denied, or over. Null: it waits, until its deadline.';

CREATE INDEX prompts_by_change ON prompts (changed_at);

CREATE TABLE prompt_notices (
    user_name text PRIMARY KEY,
    at        timestamptz NOT NULL
);

COMMENT ON TABLE prompt_notices IS 'When the operator was last told that somebody is asked too often.';

CREATE TABLE trusts (
    user_name  text NOT NULL,
    place      text NOT NULL,
    session_id uuid NOT NULL,
    since      timestamptz NOT NULL,
    until      timestamptz NOT NULL,
    through    text NOT NULL,
    who        text NOT NULL,
    revoked_at timestamptz,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (user_name, place)
);

COMMENT ON TABLE trusts IS 'Approvals that count again for the place they were given for.';
COMMENT ON COLUMN trusts.place IS 'address 192.0.2.7, or device 001b638445e6 at NAS.';

CREATE INDEX trusts_by_change ON trusts (changed_at);

CREATE TABLE trust_voids (
    user_name  text PRIMARY KEY,
    up_to      timestamptz NOT NULL,
    why        text NOT NULL,
    changed_at timestamptz NOT NULL
);

COMMENT ON TABLE trust_voids IS 'Approvals of a user up to a time count no more.';

CREATE INDEX trust_voids_by_change ON trust_voids (changed_at);

CREATE FUNCTION audit_trust() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit (at, who, through, origin, act, subject, detail)
    VALUES (NEW.since, NEW.who, NEW.through, '', 'trust.add', NEW.user_name,
            NEW.place || ', until ' || to_char(NEW.until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
    RETURN NULL;
END
$$;

CREATE TRIGGER trusts_are_audited AFTER INSERT ON trusts FOR EACH ROW EXECUTE FUNCTION audit_trust();
CREATE TRIGGER trusts_renewed_are_audited AFTER UPDATE ON trusts
    FOR EACH ROW WHEN (NEW.since > OLD.since) EXECUTE FUNCTION audit_trust();

-- What is taken back by a person or an operator is on record with that act.
CREATE FUNCTION audit_trust_void() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit (at, who, through, origin, act, subject, detail)
    SELECT NEW.up_to, 'radhold', 'server', '', 'trust.revoke', NEW.user_name, place || ': ' || NEW.why
    FROM trusts WHERE user_name = NEW.user_name AND revoked_at IS NULL AND since <= NEW.up_to AND until > NEW.up_to
        AND (TG_OP = 'INSERT' OR since > OLD.up_to)
    ORDER BY place;
    RETURN NULL;
END
$$;

CREATE TRIGGER trust_voids_are_audited AFTER INSERT ON trust_voids
    FOR EACH ROW WHEN (NEW.why <> 'revoked') EXECUTE FUNCTION audit_trust_void();
CREATE TRIGGER trust_voids_renewed_are_audited AFTER UPDATE ON trust_voids
    FOR EACH ROW WHEN (NEW.why <> 'revoked' AND NEW.up_to > OLD.up_to) EXECUTE FUNCTION audit_trust_void();

-- A new password, somebody who is gone, a phone that is bound no more: whoever comes next is asked.
CREATE FUNCTION void_trust() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trust_voids (user_name, up_to, why, changed_at)
    SELECT to_jsonb(OLD) ->> TG_ARGV[0], clock_timestamp(), TG_ARGV[1], clock_timestamp()
    ON CONFLICT (user_name) DO UPDATE
    SET up_to = greatest(trust_voids.up_to, excluded.up_to), why = excluded.why, changed_at = excluded.changed_at;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION void_trust() IS 'Trigger: the user in the column given first is trusted nowhere any more, for the reason given second.';

CREATE TRIGGER trust_ends_with_the_password AFTER UPDATE ON users
    FOR EACH ROW WHEN (OLD.credential <> NEW.credential) EXECUTE FUNCTION void_trust('name', 'the password was changed');
CREATE TRIGGER trust_ends_with_the_user AFTER DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION void_trust('name', 'the user was removed');
CREATE TRIGGER trust_ends_with_the_binding AFTER DELETE ON bindings
    FOR EACH ROW EXECUTE FUNCTION void_trust('user_name', 'a chat was unbound');

-- What is taken back is heard of at once. What is given, at the next look: that may be as often as people log in.
CREATE TRIGGER radhold_trust_void AFTER INSERT OR UPDATE ON trust_voids
    FOR EACH STATEMENT EXECUTE FUNCTION radhold_say('trust');
CREATE TRIGGER radhold_trust_revoked AFTER UPDATE OF revoked_at ON trusts
    FOR EACH ROW WHEN (NEW.revoked_at IS NOT NULL) EXECUTE FUNCTION radhold_say('trust');

CREATE VIEW report_trusts AS
SELECT
    trusts.user_name, place, since, until, through, who, session_id,
    revoked_at IS NOT NULL OR coalesce(up_to >= since, false) AS revoked
FROM trusts LEFT JOIN trust_voids ON trust_voids.user_name = trusts.user_name;

COMMENT ON VIEW report_trusts IS 'Approvals that count again for the place they were given for, and those that did.';

ALTER TABLE users ADD COLUMN guards jsonb NOT NULL DEFAULT '{}';
ALTER TABLE nases ADD COLUMN guards jsonb NOT NULL DEFAULT '{}';

COMMENT ON COLUMN users.guards IS 'Settings of the guards around a prompt; what is not there is as the NAS or the server says.';
COMMENT ON COLUMN nases.guards IS 'Settings of the guards around a prompt; what is not there is as the server says.';
