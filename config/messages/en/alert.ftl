# What operators are told in telegram.operator_chat (each behind the words of the message alert), and why somebody is banned. The log
# says the same in English.
#
# What begins with alert- is plain text. Reasons and causes are told as the program or the other side gave them.

# $user (text 400): User-Name.
# $nas (text 400): our name for the NAS.
# $caller (one of known, unknown): whether the NAS says who called.
# $from (text 400): Calling-Station-Id.
# $left (number): how many seconds are left.
# $until (text 40): until when that is.
# $session (text 40): the session's id.
alert-operator-asked =
    { $user } on { $nas }, from { $caller ->
        [known] { $from }
       *[unknown] an unknown address
    }, waits for an operator, { $left } s at most, until { $until }: radhold session approve { $session } (or deny { $session }).

# $user (text 400): User-Name.
# $nas (text 400): our name for the NAS.
# $session (text 40): the session's id.
# $reason (text 400): why the last of them could not be asked.
# $then (one of held, ended): what becomes of the session.
alert-undeliverable =
    { $user } on { $nas } (session { $session }): nobody could be asked ({ $reason }); { $then ->
        [held] the session stays confined until its deadline, unless an operator decides: radhold session approve { $session }.
       *[ended] the session is being ended.
    }

# $user (text 400): User-Name.
# $nas (text 400): our name for the NAS.
# $session (text 40): the session's id.
# $given (one of yes, no): whether the NAS said why.
# $cause (text 400): its Error-Cause.
alert-coa-refused =
    { $user } on { $nas } (session { $session }): the NAS refuses the CoA-Request ({ $given ->
        [yes] { $cause }
       *[no] no Error-Cause
    }); the session stays confined until its deadline. Check the NAS's dialect.

# $user (text 400): User-Name.
# $nas (text 400): our name for the NAS.
# $session (text 40): the session's id.
# $given (one of yes, no): whether the NAS said why.
# $cause (text 400): its Error-Cause.
alert-disconnect-refused =
    { $user } on { $nas } (session { $session }): the NAS refuses the Disconnect-Request ({ $given ->
        [yes] { $cause }
       *[no] no Error-Cause
    }); end the session there by hand.

# $user (text 400): User-Name.
# $nas (text 400): our name for the NAS.
# $session (text 40): the session's id.
alert-ack-without-effect =
    { $user } on { $nas } (session { $session }): the NAS acknowledged the CoA-Request, but its accounting still shows the sandbox filter; trying again.

# $user (text 400): User-Name.
# $nas (text 400): our name for the NAS.
# $session (text 40): the session's id.
alert-eviction-unconfirmed =
    { $user } on { $nas } (session { $session }): the NAS never confirmed the end of the session; giving up. See to it there.

# $user (text 400): User-Name.
# $nas (text 400): our name for the NAS.
# $session (text 40): the session's id.
# $who (text 400): which code, and from where.
alert-emergency-code =
    { $user } on { $nas } (session { $session }): let in without being asked ({ $who }). `radhold emergency list` shows what is left of the code.

# $node (text 400): the node that says so.
# $user (text 400): User-Name.
alert-prompts-exceeded =
    Node { $node }: too many logins of { $user } within the hour were not confirmed: further ones are refused without a prompt. Somebody else may have the password.

# $node (text 400): the node that says so.
# $error (text 400): why.
alert-spool-full =
    Node { $node }: the store is away and the spool takes no more ({ $error }): accounting is not acknowledged, and NASes must keep it.

# $node (text 400): the node that says so.
# $used (number): how full it is, MiB.
# $limit (number): how full it may be, MiB.
# $waiting (number): records in it.
alert-spool-nearly-full =
    Node { $node }: the spool is nearly full ({ $used } of { $limit } MiB, records waiting: { $waiting }); when it is, accounting is no longer acknowledged.

# $node (text 400): the node that says so.
# $damage (text 400): what is wrong with it.
# $file (text 400): where it is now.
# $saved (number): records that could be read.
# $aside (number): records that could be read and make no sense.
# $left (number): records that could be read and found no room.
# $unreadable (text 20): how many could not be read, at most.
alert-spool-damaged =
    Node { $node }: the spool's file was damaged ({ $damage }); it was moved to { $file }, and a new one begun. Records saved of it: { $saved }; set aside: { $aside }; without room, left in that file: { $left }; unreadable, at most: { $unreadable }. See radhold spool.

## Why somebody is banned, where radhold or a button set the ban. Parts of the lists of bans.

# $count (number): logins.
word-ban-strikes =
    { $count ->
        [one] { $count } login denied or not confirmed
       *[other] { $count } logins denied or not confirmed
    }

# $user (text 70): User-Name, escaped.
word-ban-denied-login = denied login of { $user }
