-- Strikes, bans, wrong passwords and the audit record.

CREATE TABLE strikes (
    session_id uuid PRIMARY KEY,
    at         timestamptz NOT NULL,
    user_name  text NOT NULL,
    nas        text NOT NULL,
    caller     text,
    why        text NOT NULL
);

COMMENT ON TABLE strikes IS 'Holds that were denied or not confirmed. A hold ends once, and is one strike at most.';
COMMENT ON COLUMN strikes.caller IS 'Calling-Station-Id: an address without port, or a station''s name in lower case.';
COMMENT ON COLUMN strikes.why IS 'denied, unanswered, or gave-up (hung up before anybody answered).';

CREATE INDEX strikes_by_time ON strikes (at);

CREATE TABLE bans (
    kind      text NOT NULL,
    value     text NOT NULL,
    since     timestamptz NOT NULL,
    until     timestamptz,
    lifted_at timestamptz,
    reason    text NOT NULL,
    set_by    text NOT NULL,
    automatic boolean NOT NULL,
    forced    boolean NOT NULL,
    PRIMARY KEY (kind, value)
);

COMMENT ON TABLE bans IS 'The latest ban of each target, in force, over or lifted.';
COMMENT ON COLUMN bans.kind IS 'address (or network), station, account.';
COMMENT ON COLUMN bans.until IS 'Null: until it is lifted.';
COMMENT ON COLUMN bans.automatic IS 'It came of strikes.';
COMMENT ON COLUMN bans.forced IS 'It counts in allowed networks too.';

CREATE TABLE ban_notices (
    address       text PRIMARY KEY,
    generation    bigint NOT NULL,
    told          jsonb NOT NULL,
    due_at        timestamptz NOT NULL,
    attempts      bigint NOT NULL,
    claimed_by    text,
    claimed_until timestamptz
);

COMMENT ON TABLE ban_notices IS 'Addresses whose ban has changed and whose NASes are to be told. What to tell them is what the ban is then.';
COMMENT ON COLUMN ban_notices.generation IS 'Raised with each change, so that a change that comes amid the telling is told too.';
COMMENT ON COLUMN ban_notices.told IS 'Names of the NASes that know.';

CREATE INDEX ban_notices_by_due ON ban_notices (due_at);

CREATE TABLE login_failures (
    account    text NOT NULL,
    caller     text NOT NULL,
    failures   bigint NOT NULL,
    last_at    timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (account, caller)
);

COMMENT ON TABLE login_failures IS 'Wrong passwords by account and caller; an empty one of the two is any.';

CREATE INDEX login_failures_by_change ON login_failures (changed_at);

CREATE INDEX sessions_by_permitted_at ON sessions (permitted_at) WHERE permitted_at IS NOT NULL;

CREATE TABLE audit (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL,
    who     text NOT NULL,
    through text NOT NULL,
    origin  text NOT NULL,
    act     text NOT NULL,
    subject text NOT NULL,
    detail  text NOT NULL
);

COMMENT ON TABLE audit IS 'Decisions, enrolments, bans and acts of administrators. Append-only.';
COMMENT ON COLUMN audit.who IS 'In the channel''s terms: an operator''s login, a Telegram user id; radhold for what it did by itself.';
COMMENT ON COLUMN audit.through IS 'The channel: command-line, telegram, operator, server.';
COMMENT ON COLUMN audit.origin IS 'Where that was: a host, an address.';

CREATE INDEX audit_by_time ON audit (at, id);

CREATE TABLE audit_pruning (before timestamptz NOT NULL);

COMMENT ON TABLE audit_pruning IS 'What may go, while it goes: a row here exists within the transaction that prunes, and for nobody else.';

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND EXISTS (SELECT 1 FROM audit_pruning WHERE OLD.at < before) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit record is append-only';
END
$$;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_is_not_truncated BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

CREATE FUNCTION audit_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit (at, who, through, origin, act, subject, detail)
    SELECT NEW.decided_at, NEW.who, NEW.approver, '', 'session.' || NEW.verdict, user_name,
           'session ' || id || ' on ' || nas || coalesce(' from ' || calling_station_id, '')
    FROM sessions WHERE id = NEW.session_id;
    RETURN NULL;
END
$$;

CREATE TRIGGER decisions_are_audited AFTER INSERT ON decisions FOR EACH ROW EXECUTE FUNCTION audit_decision();

CREATE VIEW report_strikes AS
SELECT at, user_name, nas, caller, why, session_id FROM strikes;

COMMENT ON VIEW report_strikes IS 'Holds that were denied or not confirmed.';

CREATE VIEW report_bans AS
SELECT kind, value, since, until, lifted_at, reason, set_by, automatic FROM bans;

COMMENT ON VIEW report_bans IS 'The latest ban of each address, station and account.';

CREATE VIEW report_audit AS
SELECT at, who, through, origin, act, subject, detail FROM audit;

COMMENT ON VIEW report_audit IS 'Who did what, through what, from where, when.';

ALTER TABLE nases ADD COLUMN allow_callers jsonb NOT NULL DEFAULT '[]';
ALTER TABLE nases ADD COLUMN deny_callers jsonb NOT NULL DEFAULT '[]';

COMMENT ON COLUMN nases.allow_callers IS 'Networks its callers are welcome from, and against which no ban is set by itself.';
COMMENT ON COLUMN nases.deny_callers IS 'Networks its callers are refused from.';
