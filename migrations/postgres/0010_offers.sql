-- Accounting without Class looks for offers of its user that were not taken up.
CREATE INDEX sessions_offers ON sessions (user_name, nas, accepted_at) WHERE state IN ('offered', 'dropped');
