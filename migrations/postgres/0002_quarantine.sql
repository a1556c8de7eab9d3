-- Accounting-Requests that were acknowledged but fit nowhere: kept whole, so that nothing is lost and nobody else waits.

CREATE TABLE quarantine (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at    timestamptz NOT NULL,
    nas            text NOT NULL,
    nas_address    inet NOT NULL,
    packet         bytea NOT NULL,
    reason         text NOT NULL,
    quarantined_at timestamptz NOT NULL,
    retry          boolean NOT NULL DEFAULT false
);

COMMENT ON TABLE quarantine IS 'Accounting-Requests that could not be recorded, and why. radhold quarantine lists, retries and drops them.';
COMMENT ON COLUMN quarantine.nas IS 'Our name for the NAS.';
COMMENT ON COLUMN quarantine.nas_address IS 'Where the packet came from.';
COMMENT ON COLUMN quarantine.packet IS 'The Accounting-Request as it was received.';
COMMENT ON COLUMN quarantine.retry IS 'An operator wants it tried again.';

CREATE INDEX quarantine_to_retry ON quarantine (id) WHERE retry;
