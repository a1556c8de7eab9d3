# The question, the answers to a press, and how it ended, in a chat.
#
# Lines of a comment that begin with $ say what an argument can be, and how long a text is at most; they are read by the check at
# start. What begins with answer- or button- is plain text; all else is HTML with b, i, u, s, code, pre.

button-yes = It's me
button-no = Not me

# The question. It always sounds.
# $facts (text 1200): the lines that begin with fact-.
# $seconds (number): how long there is to answer.
# $until (text 8): until when that is.
prompt =
    <b>Is this you?</b>
    Somebody has logged in with your password.

    { $facts }

    { $seconds ->
        [one] Answer within { $seconds } second (by { $until }); without an answer the connection ends.
       *[other] Answer within { $seconds } seconds (by { $until }); without an answer the connection ends.
    }

## What is known of a login. Each is a line of the question and of its outcome.

# $user (text 65): User-Name.
fact-user = User: { $user }
# $nas (text 65): our name for the NAS.
fact-nas = Server: { $nas }
# $address (text 65): Calling-Station-Id.
fact-from = From: { $address }
fact-from-unknown = From: unknown (the server did not say)
# $place (text 133): city and country.
fact-place = Place: { $place }
# $network (text 90): who runs the network the address is in.
fact-network = Network: { $network }
# $host (text 65): the name of the address in the DNS.
fact-host = Host: { $host }
# $medium (text 80): the words that begin with word-medium-.
fact-medium = By: { $medium }
# $address (text 17): the hardware address of the device.
fact-device = Device: { $address }
# $moment (text 40): when the password was accepted, in the zone of the chat.
fact-at = At: { $moment }

# Instead of a text that is empty, or has nothing in it that can be shown.
word-empty = (empty)

# $city (text 65): its name.
# $country (text 65): its name.
word-city-and-country = { $city }, { $country }

word-medium-pptp = PPTP tunnel
word-medium-l2tp = L2TP tunnel
word-medium-ipsec = IPsec (IKE)
word-medium-sstp = SSTP tunnel
word-medium-openvpn = OpenVPN
word-medium-ssl-vpn = VPN over TLS
word-medium-virtual = VPN
word-medium-pppoe = PPPoE
word-medium-ppp = PPP
word-medium-isdn = ISDN
word-medium-dsl = DSL
word-medium-cable = cable
word-medium-fibre = fibre
word-medium-ethernet = Ethernet port
word-medium-wifi = Wi-Fi
word-medium-wireless = radio network
word-medium-console = login to a device or host

## How it ended. Each takes the place of the question.

# $facts (text 1200): as in the question.
outcome-permitted =
    <b>Confirmed. The connection is open.</b>

    { $facts }

    If it was not you who confirmed, change your password and tell your administrator now.

# $facts (text 1200): as in the question.
outcome-lifted =
    <b>An operator has confirmed it. The connection is open.</b>

    { $facts }

    If it was not you who logged in, change your password and tell your administrator now.

# $facts (text 1200): as in the question.
outcome-nas-unreachable =
    <b>Confirmed, but the server has not reacted yet.</b>

    { $facts }

    We keep trying until the time is over. If it was not you, tell your administrator now.

# $facts (text 1200): as in the question.
outcome-denied =
    <b>Denied. The connection is ended.</b>

    { $facts }

    If it was not you, somebody knows your password: change it now and tell your administrator.

# $facts (text 1200): as in the question.
outcome-refused =
    <b>An operator has denied it. The connection is ended.</b>

    { $facts }

    If it was not you who logged in, change your password and tell your administrator.

# $facts (text 1200): as in the question.
outcome-expired =
    <b>Nobody answered in time. The connection is ended.</b>

    { $facts }

    If it was you, log in again. If it was not, somebody knows your password: change it now and tell your administrator.

# $facts (text 1200): as in the question.
outcome-not-lifted =
    <b>Confirmed, but the server could not be told in time. The connection is ended.</b>

    { $facts }

    Please log in again, and tell your administrator if it happens again.

# $facts (text 1200): as in the question.
outcome-disconnected =
    <b>The connection ended before anybody answered.</b>

    { $facts }

    If it was you, log in again. If it was not, somebody knows your password: change it now and tell your administrator.

# Confirmed, and gone before the server could be told.
# $facts (text 1200): as in the question.
outcome-disconnected-confirmed =
    <b>Confirmed, but the connection ended before it could be opened.</b>

    { $facts }

    If you want to connect, log in again.

# $facts (text 1200): as in the question.
outcome-kicked =
    <b>The connection was ended by hand.</b>

    { $facts }

    An operator has ended it, or somebody in one of your chats. If it was not you who logged in, change your password and tell your administrator.

## Later: the session has ended.

# A message of its own, in reply to the question. In quiet mode it is not sent.
# $facts (text 200): user and server.
# $summary (text 400): ended-summary.
ended =
    <b>The connection has ended.</b>

    { $facts }
    { $summary }

# The same below the outcome, in quiet mode.
# $summary (text 400): ended-summary.
ended-below =
    <b>The connection has ended.</b>
    { $summary }

# $at (text 40): when.
# $lasted (text 40): how long it lasted.
# $received (text 40): how much was received by the user.
# $sent (text 40): how much was sent by the user.
# $why (text 80): the words that begin with word-cause- or word-end-.
ended-summary =
    Ended: { $at }
    Lasted: { $lasted }
    Received: { $received }, sent: { $sent }
    Why: { $why }

# Acct-Terminate-Cause (RFC 2866 §5.10, RFC 3580 §3.1, and its registry).
word-cause-1 = you disconnected
word-cause-2 = the line was lost
word-cause-3 = the service could no longer be provided
word-cause-4 = nothing was sent for too long
word-cause-5 = the time allowed was over
word-cause-6 = ended by an administrator
word-cause-7 = an administrator restarts the server
word-cause-8 = an error on the port
word-cause-9 = an error on the server
word-cause-10 = ended by the server
word-cause-11 = the server restarted
word-cause-12 = the port is needed no more
word-cause-13 = the port was given to a more urgent use
word-cause-14 = the connection was suspended
word-cause-15 = the service is not available
word-cause-16 = the server calls back
word-cause-17 = an error in what the client sent
word-cause-18 = ended by the host you were logged in to
word-cause-19 = the device began to log in anew
word-cause-20 = logging in anew failed
word-cause-21 = the port was set up anew
word-cause-22 = the port was switched off by an administrator
word-cause-23 = the device lost power
# $number (number): Acct-Terminate-Cause.
word-cause-other = reason { $number } of the server
word-cause-none = the server did not say

# The server never reported an end; this is how we know.
word-end-nas-restart = the server restarted
word-end-session-gone = the server knows it no more
word-end-stale = the server has not spoken of it for too long
word-end-port-reused = another connection took its port

## What a press is answered. At most 200 characters.

answer-approved = Confirmed. Your connection is being opened.
answer-denied = Denied. The connection is being ended. Change your password.
answer-nothing = That changed nothing.
answer-already-approved = Already confirmed.
answer-already-denied = Already denied.
answer-approved-before-no = Already confirmed: this "no" came too late. Tell your administrator now, and change your password.
answer-denied-before-yes = Already denied: the connection is being ended. If it was you, log in again.
answer-expired = Already expired: the time to answer is over. If it was you, log in again.
answer-over = Too late: that connection is over. If it was you, log in again.
answer-not-entitled = This chat is not bound to that user any more. Ask your administrator.
answer-noted = Your answer is kept, but cannot be carried out at this moment. This message will say how it ends.
answer-not-held = There is nothing to confirm: that connection is not waiting for an answer.
answer-foreign = Refused: this button is not one of ours.
answer-not-yours = Refused: this button is not yours to press.
answer-unsettled = Your answer is in, but not carried out yet. This message will say how it ends.
answer-not-taken = Your answer could not be recorded. Please press again.

# To the operator.
# $text (text 2000): what happened.
alert = <b>radhold</b>: { $text }
