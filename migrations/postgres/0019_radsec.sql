-- NASes that come by TLS, two secrets for a while, and several NASes at one address.

ALTER TABLE nases
    ADD COLUMN nas_identifier        text,
    ADD COLUMN radsec                jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN radsec_only           boolean NOT NULL DEFAULT false,
    ADD COLUMN dynauth               text NOT NULL DEFAULT 'auto',
    ADD COLUMN previous_secret       bytea,
    ADD COLUMN previous_secret_until timestamptz;

COMMENT ON COLUMN nases.nas_identifier IS 'The NAS-Identifier that tells it from others at the same address.';
COMMENT ON COLUMN nases.radsec IS 'What its certificate shows over TLS, one of these: dns:NAME, ip:ADDRESS or sha256:DIGEST.';
COMMENT ON COLUMN nases.radsec_only IS 'It comes by TLS alone; its network says nothing then.';
COMMENT ON COLUMN nases.dynauth IS 'Which way CoA-Request and Disconnect-Request go: auto, udp, radsec or tls.';
COMMENT ON COLUMN nases.previous_secret IS 'The secret before this one, sealed by radhold, while both count.';

-- Which node a NAS has a TLS connection to: an order for it down that connection is that node's.
CREATE TABLE radsec_links (
    node text NOT NULL,
    nas  text NOT NULL,
    PRIMARY KEY (node, nas)
);

COMMENT ON TABLE radsec_links IS 'NASes with a TLS connection to a node, now.';

ALTER TABLE outbox
    ADD COLUMN meant_for   text,
    ADD COLUMN meant_until timestamptz;

COMMENT ON COLUMN outbox.meant_for IS 'The node that is to carry it out; others leave it alone until meant_until.';
