-- Every report adds a row to usage, and its key, by session, was the dearest part of it: a random place in an index as large as the table.
-- That a report counts once is the doing of sessions.version. What a session carried is found by its user and its time. The table is copied,
-- since a key cannot be taken from one. Servers of before cannot write usage to this schema: stop them first.

CREATE TABLE usage_without_key (
    session_id     TEXT NOT NULL,
    user_name      TEXT NOT NULL,
    nas            TEXT NOT NULL,
    from_at        INTEGER NOT NULL,
    to_at          INTEGER NOT NULL,
    input_octets   INTEGER NOT NULL,
    output_octets  INTEGER NOT NULL,
    input_packets  INTEGER NOT NULL,
    output_packets INTEGER NOT NULL,
    session_time   INTEGER NOT NULL,
    version        INTEGER NOT NULL,
    day            TEXT NOT NULL
) STRICT;

INSERT INTO usage_without_key (session_id, user_name, nas, from_at, to_at, input_octets, output_octets, input_packets, output_packets,
                               session_time, version, day)
SELECT session_id, user_name, nas, from_at, to_at, input_octets, output_octets, input_packets, output_packets,
       session_time, version, day
FROM usage ORDER BY rowid;

DROP TABLE usage;
-- Views name the table meanwhile as it will be called again.
PRAGMA legacy_alter_table = ON;
ALTER TABLE usage_without_key RENAME TO usage;
PRAGMA legacy_alter_table = OFF;

CREATE INDEX usage_by_time ON usage (to_at);
CREATE INDEX usage_by_user ON usage (user_name, to_at);
CREATE INDEX usage_by_day ON usage (day, user_name);
