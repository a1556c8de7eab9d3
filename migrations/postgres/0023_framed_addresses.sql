-- The portal asks whose address it is. Only sessions that may still have one are looked at.
CREATE INDEX sessions_open_by_framed_ip ON sessions (framed_ip)
    WHERE framed_ip IS NOT NULL AND state NOT IN ('dropped', 'closed');
CREATE INDEX sessions_open_by_framed_ipv6_prefix ON sessions (framed_ipv6_prefix)
    WHERE framed_ipv6_prefix IS NOT NULL AND state NOT IN ('dropped', 'closed');
