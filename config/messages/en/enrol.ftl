# Binding a chat: links, requests, and what administrators are asked about them.

# $chat (text 24): the chat's number.
bot-greeting =
    This bot asks you to confirm your logins.

    To connect this chat, follow the link your administrator gives you. The number of this chat is <code>{ $chat }</code>.

# $chat (text 24): the chat's number.
bot-greeting-register =
    This bot asks you to confirm your logins.

    To connect this chat, follow the link your administrator gives you, or write <code>/register NAME</code> with your user name for NAME. The number of this chat is <code>{ $chat }</code>.

bot-greeting-group =
    Please write to me in a private chat: who can confirm your logins is nobody else's business.

enrol-wrong =
    This link is not valid, or not valid any more. Ask your administrator for a new one.

# $user (text 200): user name, escaped.
enrol-bound =
    <b>Connected.</b> From now on I ask you here whether it is you who logs in as { $user }.

    /help says what else I can do.

# $user (text 200): user name, escaped.
enrol-waiting =
    Your administrator is asked whether this chat may confirm the logins of { $user }. I will tell you here.

# $user (text 200): user name, escaped.
enrol-refused =
    Your administrator has not allowed this chat to confirm the logins of { $user }.

# $user (text 200): user name, escaped.
# $person (text 200): what they call themselves, escaped.
enrol-other-chat =
    <b>Another chat was connected.</b> From now on { $person } is asked too when somebody logs in as { $user }.

    If you know nothing of this, tell your administrator now.

# $user (text 200): user name, escaped.
# $person (text 200): what they call themselves, escaped.
enrol-moved =
    <b>This chat was disconnected.</b> From now on { $person } is asked, in another chat, when somebody logs in as { $user }.

    If you know nothing of this, tell your administrator now.

enrol-registered =
    If there is such an account, an administrator is asked now. I will tell you here when they allow it.

enrol-register-how =
    Write <code>/register NAME</code> with your user name for NAME.

# $user (text 200): user name, escaped.
# $person (text 200): what they call themselves, escaped.
# $number (text 40): their number at Telegram.
# $kind (one of link, request): whether they followed a link, or asked without one.
enrol-confirm =
    <b>May this chat be connected?</b>
    User: { $user }
    Person: { $person }, number { $number }
    { $kind ->
        [link] They followed a link that was made for that user.
       *[request] They asked by themselves. Make sure that it is they.
    }

# $user (text 200): user name, escaped.
# $person (text 200): what they call themselves, escaped.
# $end (one of bound, refused, over): what became of it.
enrol-confirmed =
    { $end ->
        [bound] <b>Connected.</b>
        [refused] <b>Refused.</b>
       *[over] <b>Over.</b>
    } The chat of { $person }, for user { $user }.

button-enrol-confirm = Connect
button-enrol-refuse = Refuse
answer-enrol-confirmed = Connected.
answer-enrol-refused = Refused.
answer-enrol-over = Too late: this is settled already, or its time is over.

# $user (text 200): user name, escaped.
# $link (text 200): the link.
# $minutes (number): for how long it is valid.
enrol-link =
    A link for { $user }, valid for { $minutes ->
        [one] one minute
       *[other] { $minutes } minutes
    }, once:
    <code>{ $link }</code>

    Whoever follows it is asked from then on: give it to nobody else.

enrol-no-user = There is no user of that name.
enrol-how = Write <code>/enrol NAME</code> with a user name for NAME.
