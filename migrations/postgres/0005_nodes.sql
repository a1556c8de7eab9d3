-- The nodes that share this database, and how they hear of what others change.

CREATE TABLE nodes (
    name           text PRIMARY KEY,
    version        text NOT NULL,
    started_at     timestamptz NOT NULL,
    seen_at        timestamptz NOT NULL,
    lag            interval NOT NULL,
    polls_telegram boolean NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500); -- A few rows, rewritten twice a second.

COMMENT ON TABLE nodes IS 'Processes of radhold that work on this database, or did lately.';
COMMENT ON COLUMN nodes.seen_at IS 'Its last sign of life, by the clock of the database.';
COMMENT ON COLUMN nodes.lag IS 'How long the sign of life before took to be kept.';
COMMENT ON COLUMN nodes.polls_telegram IS 'Whether it holds the turn to poll Telegram.';

-- What is said on the channel "radhold": "user NAME", "users", "nases", "orders". By trigger, so that a change made with psql is
-- heard as well. Only tables that change seldom have one: NOTIFY makes commits wait for each other.

CREATE FUNCTION radhold_say() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('radhold', TG_ARGV[0]);
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION radhold_say() IS 'Trigger: tells all nodes the word given as argument.';

CREATE FUNCTION radhold_say_users() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- An import of thousands is one word, and so is a name too long for one.
    IF (SELECT count(*) > 100 OR max(octet_length(name)) > 4000 FROM changed) THEN
        PERFORM pg_notify('radhold', 'users');
    ELSE
        PERFORM pg_notify('radhold', 'user ' || name) FROM changed;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION radhold_say_users() IS 'Trigger: tells all nodes which users are not what they were.';

CREATE TRIGGER radhold_user_added AFTER INSERT ON users
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION radhold_say_users();
-- The old rows: under a new name nobody is remembered yet.
CREATE TRIGGER radhold_user_changed AFTER UPDATE ON users
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION radhold_say_users();
CREATE TRIGGER radhold_user_removed AFTER DELETE ON users
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION radhold_say_users();
CREATE TRIGGER radhold_users_emptied AFTER TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION radhold_say('users');
CREATE TRIGGER radhold_nases_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON nases
    FOR EACH STATEMENT EXECUTE FUNCTION radhold_say('nases');
