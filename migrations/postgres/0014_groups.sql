-- Groups of users, who is asked with how much patience, and confirmations of a session so far.

CREATE TABLE user_groups (
    name       text PRIMARY KEY,
    settings   jsonb NOT NULL,
    created_at timestamptz NOT NULL
);

COMMENT ON TABLE user_groups IS 'Groups of users.';
COMMENT ON COLUMN user_groups.settings IS 'What it says about its members'' logins; what is missing is for the user''s next group, the NAS or the server to say.';

CREATE TABLE group_members (
    user_name  text NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    group_name text NOT NULL REFERENCES user_groups (name),
    place      bigint NOT NULL,
    PRIMARY KEY (user_name, group_name)
);

CREATE INDEX group_members_group ON group_members (group_name);

COMMENT ON TABLE group_members IS 'Who is in which group.';
COMMENT ON COLUMN group_members.place IS 'The order of a user''s groups: the least is the nearest.';

-- A user's groups are part of what is remembered of them.
CREATE FUNCTION radhold_say_members() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) > 100 OR max(octet_length(user_name)) > 4000 FROM changed) THEN
        PERFORM pg_notify('radhold', 'users');
    ELSE
        PERFORM pg_notify('radhold', 'user ' || user_name) FROM changed;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION radhold_say_members() IS 'Trigger: tells all nodes which users are not in the groups they were.';

CREATE TRIGGER radhold_member_added AFTER INSERT ON group_members
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION radhold_say_members();
CREATE TRIGGER radhold_member_changed AFTER UPDATE ON group_members
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION radhold_say_members();
CREATE TRIGGER radhold_member_removed AFTER DELETE ON group_members
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION radhold_say_members();
CREATE TRIGGER radhold_members_emptied AFTER TRUNCATE ON group_members
    FOR EACH STATEMENT EXECUTE FUNCTION radhold_say('users');
-- Of a group that is new nobody is a member yet.
CREATE TRIGGER radhold_groups_changed AFTER UPDATE OR DELETE OR TRUNCATE ON user_groups
    FOR EACH STATEMENT EXECUTE FUNCTION radhold_say('users');

ALTER TABLE users ADD COLUMN when_unreachable text;
ALTER TABLE nases ADD COLUMN approvers jsonb NOT NULL DEFAULT '[]', ADD COLUMN when_unreachable text;
ALTER TABLE sessions ADD COLUMN votes jsonb NOT NULL DEFAULT '[]';

COMMENT ON COLUMN users.approvers IS 'Who is asked, in order, as "telegram:1m" with patience; empty is the group''s, the NAS''s or the server''s setting.';
COMMENT ON COLUMN users.when_unreachable IS 'end or hold: what becomes of a hold when nobody can be asked; null is the group''s, the NAS''s or the server''s setting.';
COMMENT ON COLUMN nases.approvers IS 'Who is asked about its logins; empty is the server''s setting.';
COMMENT ON COLUMN sessions.votes IS 'Who has said yes so far, where more than one must.';
