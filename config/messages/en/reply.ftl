# Reply-Messages of RADIUS: what the program says with which somebody logs in. In the language of the installation, at most 253 octets
# (RFC 2865 §5.18). They tell nobody which users exist: only after the right password are they more precise.

reply-failed = Login failed. Check the name and the password.
reply-disabled = This account is disabled. Ask your administrator.
reply-not-now = Login is not possible at the moment. Try again later.
# $seconds (number): how long.
reply-cool-down = A login was denied a moment ago. Try again in { $seconds } s.
# $seconds (number): how long.
reply-waiting = Another login of yours waits for your answer. Answer it on your phone, or try again in { $seconds } s.
reply-set-up-wrongly = This account is set up wrongly. Ask your administrator.
reply-state = That took too long, or was answered before. Log in again.
reply-codes-away = Codes cannot be checked at the moment. Try again later.
reply-without-code = This login needs a code, and none is set up for you. Ask your administrator.
reply-caller-denied = Logins from your address are not allowed.
reply-caller-banned = Logins from your address are banned. Ask your administrator.
# $minutes (number): how long.
reply-caller-banned-for =
    { $minutes ->
        [one] Logins from your address are banned for { $minutes } more minute.
       *[other] Logins from your address are banned for { $minutes } more minutes.
    }
reply-account-banned = This account is banned. Ask your administrator.
# $minutes (number): how long.
reply-account-banned-for =
    { $minutes ->
        [one] This account is banned for { $minutes } more minute.
       *[other] This account is banned for { $minutes } more minutes.
    }
reply-code = Enter the six digits of your authenticator app, or a recovery code.
reply-code-again = That code was wrong, or used before. Wait for the next one and enter it.
