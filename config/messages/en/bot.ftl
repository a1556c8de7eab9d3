# What people and administrators can ask the bot.

command-sessions = Your connections, and a button to end each
command-history = Your latest logins
command-trusted = Where you are not asked for a while
command-lang = The language I speak
command-quiet = Notices with or without sound
command-zone = Your time zone
command-help = What I can do
command-held = Logins that wait for an answer
command-online = Who is connected
command-bans = Who is refused, and a button to lift it
command-permit = Let a waiting login through
command-kick = End a connection
command-stats = How radhold is doing
command-enrol = Make a link to connect a chat

# $users (text 400): user names, escaped.
bot-help =
    This chat confirms the logins of { $users }.

    /sessions — your connections, with a button to end each
    /history — your latest logins
    /trusted — where you are not asked for a while
    /lang — the language I speak
    /zone — your time zone
    /quiet — notices with or without sound

bot-help-administrator =
    <b>For administrators</b>
    /held — logins and chats that wait for a word
    /online — who is connected
    /bans — who is refused
    /permit ID — let a waiting login through
    /kick ID — end a connection
    /stats — how radhold is doing
    /enrol NAME — a link to connect a chat

bot-later = That cannot be looked up at this moment. Please try again in a minute.
bot-unknown = I do not know that. /help says what I can do.
bot-private = Please ask me that in a private chat.

bot-no-sessions = You have no open connection.
bot-sessions = <b>Your connections</b>

# $number (number): its place in the list.
# $user (text 200): user name, escaped.
# $nas (text 200): the server, escaped.
# $from (text 200): the caller, escaped.
# $at (text 40): when it began.
# $state (one of offered, held, permitting, permitted, evicting, dropped, closed, observed): where it is in its life.
# $size (text 40): how much it carried.
bot-session =
    { $number }. { $user } on { $nas }, from { $from }
    { $at }, { $state ->
        [offered] not begun yet
        [held] waits for confirmation
        [permitting] being opened
        [permitted] open
        [evicting] being ended
        [dropped] never begun
        [closed] over
       *[observed] seen
    }, { $size }

word-unknown = unknown

bot-no-history = No logins on record.
bot-history = <b>Your latest logins</b>

# $nas (text 200): the server, escaped.
# $from (text 200): the caller, escaped.
# $at (text 40): when it began.
# $end (one of open, confirmed, denied, unconfirmed): how it went.
# $time (text 40): how long it lasted.
# $size (text 40): how much it carried.
bot-past =
    { $at }: { $nas }, from { $from } — { $end ->
        [open] goes on
        [confirmed] confirmed
        [denied] denied
       *[unconfirmed] not confirmed
    }, { $time }, { $size }

bot-no-trusted = There is no place where you are not asked.

# $language (text 8): the language's tag.
# $languages (text 100): the tags there are.
bot-lang = I speak { $language } here. Write <code>/lang</code> and one of: { $languages }. With <code>/lang auto</code> I go by your Telegram.

# $languages (text 100): the tags there are.
bot-lang-unknown = I do not speak that. There are: { $languages }.

# $quiet (one of on, off): whether notices are silent.
bot-quiet =
    { $quiet ->
        [on] Notices come without sound. Questions still sound. <code>/quiet off</code> changes that.
       *[off] Notices come with sound. <code>/quiet on</code> makes them silent; questions still sound.
    }

# $zone (text 60): the zone's name, escaped.
# $now (text 60): the time there.
bot-zone = Your time zone is { $zone }; there it is { $now }. Change it with <code>/zone Europe/Berlin</code> or another name.
bot-zone-unknown = I know no such time zone. Write its name as <code>/zone Europe/Berlin</code>.

# $number (number): the connection's place in the list.
button-bot-end = End { $number }
# $number (number): the login's place in the list.
button-bot-permit = Permit { $number }
# $number (number): the connection's place in the list.
button-bot-kick = End { $number }
# $number (number): the ban's place in the list.
button-bot-lift = Lift { $number }
button-bot-ban-caller = Ban the caller
button-bot-ban-account = Ban the account

answer-bot-ending = The connection is being ended.
answer-bot-permitting = Permitted. The connection is being opened.
answer-bot-over = Too late: that connection is over, or being ended already.
answer-bot-decided = Too late: somebody has decided already, or the time is over.
answer-bot-not-held = That connection waits for nobody.
answer-bot-not-yours = That is not yours to do.
answer-bot-later = That could not be recorded. Please press again.
answer-bot-lifted = The ban is lifted.
answer-bot-no-ban = That ban is not in force any more.
# $whom (text 120): who is banned.
answer-bot-banned = Banned: { $whom }.
answer-bot-no-caller = The server did not say who called, so nobody can be banned for it.
answer-bot-allowed = That caller is in a network the configuration allows: nobody is banned from here.
answer-bot-known = That is banned already.

bot-no-held = Nothing waits.
bot-held = <b>Waiting for an answer</b>

# $number (number): its place in the list.
# $user (text 200): user name, escaped.
# $nas (text 200): the server, escaped.
# $from (text 200): the caller, escaped.
# $left (number): seconds left.
# $id (text 40): the end of its id.
bot-held-one =
    { $number }. { $user } on { $nas }, from { $from }
    <code>{ $id }</code>, { $left } s left

bot-no-online = Nobody is connected.
# $count (text 20): how many.
bot-online = <b>Connected: { $count }</b>

# $user (text 200): user name, escaped.
# $nas (text 200): the server, escaped.
# $from (text 200): the caller, escaped.
# $at (text 40): when it began.
# $size (text 40): how much it carried.
# $id (text 40): the end of its id.
bot-online-one =
    { $user } on { $nas }, from { $from }
    <code>{ $id }</code>, { $at }, { $size }

bot-no-bans = Nobody is refused.
bot-bans = <b>Refused</b>

# $number (number): its place in the list.
# $whom (text 200): who, escaped.
# $until (text 40): until when.
# $reason (text 200): why, escaped.
# $by (text 200): by whom, escaped.
bot-ban = { $number }. { $whom }, until { $until }: { $reason } ({ $by })

# $number (number): its place in the list.
# $whom (text 200): who, escaped.
# $reason (text 200): why, escaped.
# $by (text 200): by whom, escaped.
bot-ban-lasting = { $number }. { $whom }, until it is lifted: { $reason } ({ $by })

bot-permit-how = Write <code>/permit ID</code> with the end of a login's id; /held lists them.
bot-kick-how = Write <code>/kick ID</code> with the end of a connection's id; /online lists them.
bot-no-such-session = There is no such connection, or more than one; give more of its id.
bot-done-permit = Permitted. The connection is being opened.
bot-done-kick = The connection is being ended.
bot-not-done = Too late: that connection is over, or somebody has decided already.

# $held (text 20): how many wait.
# $online (text 20): how many are connected.
# $bans (number): bans in force.
# $nodes (number): nodes alive.
# $waiting (number): orders that wait.
# $oldest (number): for how long the oldest of them has, in seconds.
bot-stats =
    <b>radhold</b>
    Connected: { $online }
    Waiting for an answer: { $held }
    Bans in force: { $bans }
    Nodes alive: { $nodes }
    Orders waiting: { $waiting }, the oldest for { $oldest } s

# $user (text 200): user name, escaped.
# $nas (text 200): the server, escaped.
# $from (text 200): the caller, escaped.
# $at (text 40): when.
bot-strike =
    <b>A login was denied.</b>
    User: { $user }
    Server: { $nas }
    From: { $from }
    At: { $at }
    Somebody knows the password: have it changed.
