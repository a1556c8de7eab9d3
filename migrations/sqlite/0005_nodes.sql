-- The process that works on this file, or did lately.

CREATE TABLE nodes (
    name           TEXT PRIMARY KEY,
    version        TEXT NOT NULL,
    started_at     INTEGER NOT NULL,
    seen_at        INTEGER NOT NULL,
    lag            INTEGER NOT NULL,
    polls_telegram INTEGER NOT NULL
) STRICT;
