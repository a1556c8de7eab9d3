-- When a NAS, or one of several devices that share an entry, was last heard to have restarted (Accounting-On, Accounting-Off): what began
-- before that and is heard of later is over, and where very many sessions are, they are ended bit by bit.
CREATE TABLE nas_restarts (
    nas            text NOT NULL,
    -- NAS-Identifier, or else NAS-IP-Address, or else where its packets come from.
    device         text NOT NULL,
    nas_address    inet NOT NULL,
    nas_ip_address inet,
    nas_identifier text,
    restarted_at   timestamptz NOT NULL,
    -- Whether that is by its own clock.
    by_nas_clock          boolean NOT NULL,
    noted_at       timestamptz NOT NULL,
    -- Whether all sessions of before are ended.
    seen_to        boolean NOT NULL DEFAULT false,
    PRIMARY KEY (nas, device)
);

CREATE INDEX nas_restarts_to_see_to ON nas_restarts (noted_at) WHERE NOT seen_to;

COMMENT ON TABLE nas_restarts IS 'The last restart of each NAS, as it told.';
