-- What lies in the spool of a node, for others to see.
ALTER TABLE nodes
    ADD COLUMN spooled bigint NOT NULL DEFAULT 0,
    ADD COLUMN spooled_since timestamptz,
    ADD COLUMN drains boolean NOT NULL DEFAULT false;

COMMENT ON COLUMN nodes.spooled IS 'Records in its spool.';
COMMENT ON COLUMN nodes.spooled_since IS 'Since when some are there.';
COMMENT ON COLUMN nodes.drains IS 'Whether they are on their way: then no session is taken for silent by any node.';
