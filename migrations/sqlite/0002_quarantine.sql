-- Accounting-Requests that were acknowledged but fit nowhere: kept whole, so that nothing is lost and nobody else waits.

CREATE TABLE quarantine (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    received_at    INTEGER NOT NULL,
    nas            TEXT NOT NULL,
    nas_address    TEXT NOT NULL,
    packet         BLOB NOT NULL,
    reason         TEXT NOT NULL,
    quarantined_at INTEGER NOT NULL,
    retry          INTEGER NOT NULL DEFAULT 0 CHECK (retry IN (0, 1))
) STRICT;

CREATE INDEX quarantine_to_retry ON quarantine (id) WHERE retry;
