-- Groups of users, who is asked with how much patience, and confirmations of a session so far.

CREATE TABLE user_groups (
    name       TEXT NOT NULL PRIMARY KEY,
    settings   TEXT NOT NULL, -- JSON
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE group_members (
    user_name  TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    group_name TEXT NOT NULL REFERENCES user_groups (name),
    place      INTEGER NOT NULL, -- the order of a user's groups: the least is the nearest
    PRIMARY KEY (user_name, group_name)
) STRICT;

CREATE INDEX group_members_group ON group_members (group_name);

ALTER TABLE users ADD COLUMN when_unreachable TEXT;
ALTER TABLE nases ADD COLUMN approvers TEXT NOT NULL DEFAULT '[]'; -- JSON
ALTER TABLE nases ADD COLUMN when_unreachable TEXT;
ALTER TABLE sessions ADD COLUMN votes TEXT NOT NULL DEFAULT '[]'; -- JSON: who has said yes so far, where more than one must
