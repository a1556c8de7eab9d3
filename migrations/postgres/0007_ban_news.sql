-- A ban is heard of at once, by whatever set or lifted it: "bans" on the channel of radhold_say.

CREATE TRIGGER radhold_bans_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON bans
    FOR EACH STATEMENT EXECUTE FUNCTION radhold_say('bans');
