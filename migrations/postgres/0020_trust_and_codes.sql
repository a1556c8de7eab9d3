-- Trust was given for a phone or an authenticator: when another takes its place, whoever comes next is asked.
CREATE TRIGGER trust_ends_with_the_authenticator AFTER DELETE ON totp
    FOR EACH ROW EXECUTE FUNCTION void_trust('user_name', 'the authenticator was removed');
CREATE TRIGGER trust_ends_with_another_authenticator AFTER UPDATE ON totp
    FOR EACH ROW WHEN (OLD.secret <> NEW.secret) EXECUTE FUNCTION void_trust('user_name', 'the authenticator was replaced');
CREATE TRIGGER trust_ends_with_another_presser AFTER UPDATE ON bindings
    FOR EACH ROW WHEN (OLD.presser <> NEW.presser) EXECUTE FUNCTION void_trust('user_name', 'a chat was bound to somebody else');
