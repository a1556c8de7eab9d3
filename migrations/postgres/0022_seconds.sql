-- A second person's no: where it came from, as with anybody's. The yes of each is an act of its own, `session.vote`. And who calls
-- themselves like an administrator by way of a webhook is none.
CREATE OR REPLACE FUNCTION audit_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit (at, who, through, origin, act, subject, detail)
    SELECT NEW.decided_at,
           CASE WHEN NEW.approver = 'operator' AND NEW.who LIKE 'telegram:%' THEN split_part(NEW.who, '@', 1) ELSE NEW.who END,
           CASE WHEN NEW.approver = 'operator' AND NEW.who LIKE 'telegram:%' THEN 'telegram' ELSE NEW.approver END,
           CASE
               WHEN NEW.approver = 'operator' AND NEW.who LIKE 'telegram:%@%' THEN 'chat ' || split_part(NEW.who, '@', 2)
               WHEN NEW.approver = 'operator' AND NEW.who LIKE 'telegram:%' THEN 'chat ' || split_part(NEW.who, ':', 2)
               WHEN NEW.approver = 'person' THEN coalesce(
                   (SELECT string_agg(DISTINCT 'chat ' || b.address, ', ') FROM bindings b
                    WHERE b.approver = 'telegram' AND b.presser = NEW.who),
                   '')
               ELSE coalesce(
                   (SELECT string_agg('chat ' || b.address, ', ' ORDER BY b.address COLLATE "C") FROM bindings b
                    WHERE b.user_name = s.user_name AND b.approver = NEW.approver AND b.presser = NEW.who),
                   CASE WHEN NEW.approver = 'telegram' THEN 'user ' || NEW.who ELSE '' END)
           END,
           'session.' || NEW.verdict, s.user_name,
           'session ' || s.id || ' on ' || s.nas || coalesce(' from ' || s.calling_station_id, '')
    FROM sessions s WHERE s.id = NEW.session_id;
    RETURN NULL;
END
$$;
