-- What lies in the spool of the node.
ALTER TABLE nodes ADD COLUMN spooled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN spooled_since INTEGER;
