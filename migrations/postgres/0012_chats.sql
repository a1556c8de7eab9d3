-- How chats want to be spoken to, and what callers come by.
CREATE TABLE chat_preferences (
    approver text NOT NULL,
    address  text NOT NULL,
    language text,
    heard    text,
    zone     text,
    quiet    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (approver, address)
);

COMMENT ON TABLE chat_preferences IS 'How chats want to be spoken to; what is null is for the installation to choose.';
COMMENT ON COLUMN chat_preferences.address IS 'As in bindings.';
COMMENT ON COLUMN chat_preferences.language IS 'The language that was chosen there.';
COMMENT ON COLUMN chat_preferences.heard IS 'The language of the person''s device, as the channel last told it.';
COMMENT ON COLUMN chat_preferences.zone IS 'A name of the tz database.';
COMMENT ON COLUMN chat_preferences.quiet IS 'Only questions may sound.';

ALTER TABLE sessions ADD COLUMN medium text;
COMMENT ON COLUMN sessions.medium IS 'What the caller comes by: pptp, l2tp, wifi and the like.';
