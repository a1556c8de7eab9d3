-- Trust was given for a phone or an authenticator: when another takes its place, whoever comes next is asked.
CREATE TRIGGER trust_ends_with_the_authenticator AFTER DELETE ON totp
BEGIN
    INSERT INTO trust_voids (user_name, up_to, why, changed_at)
    VALUES (OLD.user_name, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) + 1000, 'the authenticator was removed',
            CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) + 1000)
    ON CONFLICT (user_name) DO UPDATE
    SET up_to = max(trust_voids.up_to, excluded.up_to), why = excluded.why, changed_at = excluded.changed_at;
END;

CREATE TRIGGER trust_ends_with_another_authenticator AFTER UPDATE OF secret ON totp WHEN OLD.secret <> NEW.secret
BEGIN
    INSERT INTO trust_voids (user_name, up_to, why, changed_at)
    VALUES (NEW.user_name, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) + 1000, 'the authenticator was replaced',
            CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) + 1000)
    ON CONFLICT (user_name) DO UPDATE
    SET up_to = max(trust_voids.up_to, excluded.up_to), why = excluded.why, changed_at = excluded.changed_at;
END;

CREATE TRIGGER trust_ends_with_another_presser AFTER UPDATE OF presser ON bindings WHEN OLD.presser <> NEW.presser
BEGIN
    INSERT INTO trust_voids (user_name, up_to, why, changed_at)
    VALUES (NEW.user_name, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) + 1000, 'a chat was bound to somebody else',
            CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) + 1000)
    ON CONFLICT (user_name) DO UPDATE
    SET up_to = max(trust_voids.up_to, excluded.up_to), why = excluded.why, changed_at = excluded.changed_at;
END;
