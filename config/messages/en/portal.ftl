# The page for whoever is confined (docs/portal.md). Plain text: a headline, and what it means.

portal-title = Login confirmation

portal-number = Choose this number on your phone
portal-number-text = The message on your phone shows three numbers. Another number denies the login.
portal-person = Confirm this login on your phone
portal-person-text = A message asks you whether it is you.
portal-others = Somebody else must agree
portal-others-text = They have been asked. Nothing is left to do here but wait.
portal-operator = An operator must let you in
portal-operator-text = They can see that you wait.
portal-asks-code = Enter your code
portal-asks-code-text = This login needs a code of your authenticator app.

portal-confirmed = Confirmed
portal-confirmed-text = The connection is being let through.
portal-through = You are through
portal-through-text = This login is confirmed. You can close this page.
portal-denied = This login was denied
portal-denied-text = The connection ends. If it was not you who said no, ask your administrator.
portal-time-up = Time is up
portal-time-up-text = Nobody confirmed this login in time. The connection ends; dial again.
portal-replaced = A newer login has taken the place of this one
portal-replaced-text = This connection ends by itself. Confirm the newer login.
portal-ended = This login has ended
portal-ended-text = Dial again.

portal-nothing = No login waits here
portal-nothing-text = There is no login from your address that waits. If you have just dialled, wait a moment.
portal-shared = It is not clear whose login this is
portal-shared-text = Several logins have your address, so none of them is shown. Confirm in another way, or ask your administrator.
portal-away = This page cannot see your login at the moment
portal-away-text = It tries again by itself. You can confirm in another way meanwhile.

portal-left = Time left:
portal-or = Or confirm with a code:
portal-code = Code of your authenticator app, six digits
portal-send = Confirm
portal-no-phone = No authenticator at hand?
portal-spare = Recovery code, from your list on paper
portal-again = Check again
portal-lost = This page hears no more from the server. If you have confirmed, you are through; if not, load it again.

portal-wrong = That code is wrong, or was used before. Wait for the next one.
portal-too-late = Too late: this login was decided already. The code is spent.
portal-too-often = Too many codes. Wait a little before the next one.
portal-counted = Your code counts. Somebody else must agree too.
portal-codes-away = Codes cannot be checked at the moment. Try again in a moment.
