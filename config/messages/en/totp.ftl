# Codes (TOTP, recovery, emergency) given to the bot.

totp-approved = Confirmed. The connection is being let through.
totp-counted = Your code counts. Somebody else must agree too.
totp-nothing-waits = None of your logins waits for a code.
totp-several-wait = Several of your logins wait for a code. A code must not let somebody else in: confirm the right one by its button, and deny the others.
totp-wrong = That code is wrong, or was used before. Wait for the next one.
totp-too-late = Too late: that login was decided already, or is over. The code is spent.
totp-away = Codes cannot be checked at the moment. Try again later.
