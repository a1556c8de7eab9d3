-- How chats want to be spoken to, and what callers come by.
CREATE TABLE chat_preferences (
    approver TEXT NOT NULL,
    address  TEXT NOT NULL,
    language TEXT,
    heard    TEXT,
    zone     TEXT,
    quiet    INTEGER NOT NULL DEFAULT 0 CHECK (quiet IN (0, 1)),
    PRIMARY KEY (approver, address)
) STRICT;

ALTER TABLE sessions ADD COLUMN medium TEXT;
