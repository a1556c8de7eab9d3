-- When a NAS, or one of several devices that share an entry, was last heard to have restarted (Accounting-On, Accounting-Off): what began
-- before that and is heard of later is over, and where very many sessions are, they are ended bit by bit.
CREATE TABLE nas_restarts (
    nas            TEXT NOT NULL,
    -- NAS-Identifier, or else NAS-IP-Address, or else where its packets come from.
    device         TEXT NOT NULL,
    nas_address    TEXT NOT NULL,
    nas_ip_address TEXT,
    nas_identifier TEXT,
    restarted_at   INTEGER NOT NULL,
    -- Whether that is by its own clock.
    by_nas_clock          INTEGER NOT NULL,
    noted_at       INTEGER NOT NULL,
    -- Whether all sessions of before are ended.
    seen_to        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (nas, device)
) STRICT;

CREATE INDEX nas_restarts_to_see_to ON nas_restarts (noted_at) WHERE NOT seen_to;
