-- NASes that come by TLS, two secrets for a while, and several NASes at one address.

ALTER TABLE nases ADD COLUMN nas_identifier TEXT;
ALTER TABLE nases ADD COLUMN radsec TEXT NOT NULL DEFAULT '[]';
ALTER TABLE nases ADD COLUMN radsec_only INTEGER NOT NULL DEFAULT 0 CHECK (radsec_only IN (0, 1));
ALTER TABLE nases ADD COLUMN dynauth TEXT NOT NULL DEFAULT 'auto';
ALTER TABLE nases ADD COLUMN previous_secret BLOB;
ALTER TABLE nases ADD COLUMN previous_secret_until INTEGER;

-- Which node a NAS has a TLS connection to: an order for it down that connection is that node's.
CREATE TABLE radsec_links (
    node TEXT NOT NULL,
    nas  TEXT NOT NULL,
    PRIMARY KEY (node, nas)
) STRICT;

ALTER TABLE outbox ADD COLUMN meant_for TEXT;
ALTER TABLE outbox ADD COLUMN meant_until INTEGER;
