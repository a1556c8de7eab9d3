-- A second person's no: where it came from, as with anybody's. The yes of each is an act of its own, `session.vote`. And who calls
-- themselves like an administrator by way of a webhook is none; nor who does so in capitals, which LIKE takes for the same.
DROP TRIGGER decisions_are_audited;

CREATE TRIGGER decisions_are_audited AFTER INSERT ON decisions
BEGIN
    INSERT INTO audit (at, who, through, origin, act, subject, detail)
    SELECT NEW.decided_at,
           CASE
               WHEN NEW.approver = 'operator' AND substr(NEW.who, 1, 9) = 'telegram:' AND instr(NEW.who, '@') > 0 THEN substr(NEW.who, 1, instr(NEW.who, '@') - 1)
               ELSE NEW.who
           END,
           CASE WHEN NEW.approver = 'operator' AND substr(NEW.who, 1, 9) = 'telegram:' THEN 'telegram' ELSE NEW.approver END,
           CASE
               WHEN NEW.approver = 'operator' AND substr(NEW.who, 1, 9) = 'telegram:' AND instr(NEW.who, '@') > 0 THEN 'chat ' || substr(NEW.who, instr(NEW.who, '@') + 1)
               WHEN NEW.approver = 'operator' AND substr(NEW.who, 1, 9) = 'telegram:' THEN 'chat ' || substr(NEW.who, 10)
               WHEN NEW.approver = 'person' THEN coalesce(
                   (SELECT group_concat('chat ' || address, ', ') FROM
                       (SELECT DISTINCT address FROM bindings
                        WHERE approver = 'telegram' AND presser = NEW.who
                        ORDER BY address)),
                   '')
               ELSE coalesce(
                   (SELECT group_concat('chat ' || address, ', ') FROM
                       (SELECT address FROM bindings
                        WHERE user_name = sessions.user_name AND approver = NEW.approver AND presser = NEW.who
                        ORDER BY address)),
                   CASE WHEN NEW.approver = 'telegram' THEN 'user ' || NEW.who ELSE '' END)
           END,
           'session.' || NEW.verdict, user_name,
           'session ' || id || ' on ' || nas || coalesce(' from ' || calling_station_id, '')
    FROM sessions WHERE id = NEW.session_id;
END;
