# Number matching, and places where somebody is not asked for a while.

# The Reply-Message of an Access-Accept. Nobody but whoever logs in may see it.
# $value (text 2): the number.
reply-number = Confirm number { $value } on your phone.

trust-list = <b>Where you are not asked</b>

# $number (number): the place in the list.
# $user (text 200): the user, escaped.
# $kind (one of address, device): what kind of place.
# $value (text 200): the address, or the device's MAC address, escaped.
# $nas (text 200): the server of a device, escaped.
# $until (text 40): until when.
trust-place =
    { $number }. { $user }, { $kind ->
        [device] with the device { $value } at { $nas }
       *[address] from { $value }
    }, until { $until }

# $number (number): the place in the list.
button-trust-revoke = Ask me again at { $number }
answer-trust-revoked = Done. You are asked there from now on.
answer-trust-over = You are asked there already.
