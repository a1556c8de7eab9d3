"""Who gets in and with what: refusals and their words, attributes of the Access-Accept, servers that are away."""

import time
from datetime import datetime

from ..lan import INSIDE, SERVICE, received, sent
from ..nas import SECOND_SERVER, SERVER
from ..process import check, until
from ..world import World
from .register import scene
from .steps import approve, order, sandboxed


PPTP = 1723


@scene(
    "4", "refusals", 30,
    "wrong password, unknown and disabled user, address banned by the server: the login fails and the person reads why, as Reply-Message; more Reply-Message than pppd's unchecked buffer holds does not harm it; a banned address is refused at once",
)  # fmt: skip
def refusals(world: World) -> None:
    server = world.server()
    server.add_user("alice")
    server.add_user("dora", "s3cret-pass", "--disabled")
    # 1210 octets with pppd's own newlines, into a buffer of 1024: the front lets 900 of them through.
    many = [f"Reply-Message = {letter * 241}" for letter in "abcde"]
    server.add_user("erin", "s3cret-pass", *reply(*many))
    nas = world.start_nas()
    client = world.clients[0]
    for user, password, reason in (
        ("alice", "wrong", "Login failed. Check the name and the password."),
        ("nobody", "s3cret-pass", "Login failed. Check the name and the password."),
        ("dora", "s3cret-pass", "This account is disabled. Ask your administrator."),
    ):
        client.dial(user, password)
        said = client.refused()
        check(reason in said, f"{user} does not read {reason!r}: {said[-600:]}")
        until(lambda: not nas.interfaces(), "the NAS hangs up")
    check(server.sessions() == [], "no session began")

    client.login("erin")
    (interface,) = nas.interfaces()
    told = [line.removeprefix("Reply-Message ") for line in nas.radattr(interface).splitlines() if line.startswith("Reply-Message ")]
    octets = sum(len(one) + 1 for one in told)
    check(700 <= octets <= 904 and set(told[0]) == {"a"}, f"Reply-Messages as pppd has them: {octets} octets, {told}")
    world.figures["Reply-Message, octets of 1205 that pppd gets"] = str(octets)
    client.hang_up()
    until(lambda: not nas.interfaces(), "the NAS hangs up")

    address = "10.90.1.2"
    nas.tell_agent("ban", address, "--for", "1h")
    tried = client.connect(client.nas, PPTP)
    check(tried.outcome == "refused" and tried.seconds < 1, f"a banned address is refused at once: {tried}")
    check(world.clients[1].connect(world.clients[1].nas, PPTP).outcome == "open", "others are not banned")
    nas.tell_agent("unban", address)
    tell_of_a_ban_by_the_server(world, server, nas, client, address)
    client.login("alice")
    # The client may have its link a moment before the NAS's pppd calls its hook.
    until(lambda: "alice" in nas.tell_agent("status"), "the agent tells of the session")


def tell_of_a_ban_by_the_server(world: World, server, nas, client, address: str) -> None:
    """The server bans the client's address and the NAS's firewall hears of it; where it does not keep the client out, RADIUS
    does, and the person reads why."""
    told = "the NAS's host has been told of the ban"
    server.cli("ban", "add", address, "--for", "1h", "--reason", "lab", "--as", "lab")
    until(lambda: told in server.process.text(), "the NAS is told of the ban", 20, 0.2)
    tried = client.connect(client.nas, PPTP)
    check(tried.outcome == "refused", f"an address that the server bans is refused at once: {tried}")
    # The operator of the NAS opens it for a moment.
    nas.tell_agent("unban", address)
    client.dial("alice")
    said = client.refused()
    reason = "Logins from your address are banned for"
    check(reason in said, f"the person does not read {reason!r}: {said[-600:]}")
    check(server.sessions("alice") == [], "no session began")
    until(lambda: not nas.interfaces(), "the NAS hangs up")
    server.cli("ban", "lift", address, "--as", "lab")
    until(lambda: server.process.text().count(told) == 2, "the NAS is told of its end", 20, 0.2)


@scene(
    "9", "attributes", 90,
    "Framed-IP-Address, Framed-MTU, DNS, Session-Timeout, Idle-Timeout, octet limit and Acct-Interim-Interval of the Accept are honoured by pppd, Framed-Route by the agent",
)  # fmt: skip
def attributes(world: World) -> None:
    server = world.server()
    timeout = 70
    server.add_user(
        "alice", "s3cret-pass", "--session-timeout", f"{timeout}s",
        *reply("Framed-IP-Address = 10.99.0.78", "Framed-MTU = 1300", "Framed-Route = 10.98.0.0/24 0.0.0.0 1",
               "MS-Primary-DNS-Server = 10.91.0.53", "MS-Secondary-DNS-Server = 10.91.0.54"),
    )  # fmt: skip
    server.add_user("bob", "s3cret-pass", *reply("Idle-Timeout = 8"))
    limit = 60_000
    server.add_user("carol", "s3cret-pass", *reply(f"Session-Octets-Limit = {limit}"))
    nas = world.start_nas()
    first, second = world.clients
    check(first.login("alice") == "10.99.0.78", "Framed-IP-Address")
    begun = time.monotonic()
    said = first.process.text()
    for server_address in ("10.91.0.53", "10.91.0.54"):
        check(f"DNS address {server_address}" in said, f"DNS {server_address}: {said[-600:]}")
    link = nas.space.run("ip", "link", "show", nas.interfaces()[0]).stdout
    # MPPE takes four octets.
    check("mtu 1296" in link, f"Framed-MTU: {link}")
    (interface,) = nas.interfaces()
    behind = "10.98.0.1"
    first.space.run("ip", "address", "add", f"{behind}/24", "dev", "lo")
    check(nas.routes() == "", f"no route while it is held: {nas.routes()}")
    held = server.session("alice", "held")
    approve(world, server, first, held)
    until(lambda: f"10.98.0.0/24 dev {interface}" in nas.routes(), "the route behind the user", 5)
    check(first.space.connect(INSIDE, SERVICE, source=behind).outcome == "open", "from behind the user, and back")

    second.login("bob")
    idle = time.monotonic()
    second.terminated(40)
    check(time.monotonic() - idle >= 7, "Idle-Timeout came too soon")
    world.figures["Idle-Timeout 8 s ended after"] = f"{time.monotonic() - idle:.1f} s"
    closed = server.session("bob", "closed")
    check(closed["end"]["terminate_cause"] == 4, f"Idle-Timeout: {closed['end']}")

    second.login("carol")
    approve(world, server, second, server.session("carol", "held"))
    second.exchange(INSIDE, limit, 1000)
    second.terminated(15)
    closed = server.session("carol", "closed")
    check(closed["counters"]["input_octets"] >= limit, f"Session-Octets-Limit: {closed['counters']}")

    first.exchange(INSIDE, 50_000, 50_000)
    first.terminated(timeout + 15)
    lasted = time.monotonic() - begun
    check(timeout - 5 <= lasted <= timeout + 10, f"Session-Timeout {timeout} s, ended after {lasted:.0f} s")
    world.figures[f"Session-Timeout {timeout} s ended after"] = f"{lasted:.1f} s"
    closed = server.session("alice", "closed")
    check(closed["end"]["terminate_cause"] == 5, f"Session-Timeout: {closed['end']}")
    check(nas.routes() == "", f"the route goes with the session: {nas.routes()}")
    usage = server.show(closed["id"])["usage"]
    check(len(usage) >= 2, f"an interim update and a Stop: {usage}")
    first_part = (moment(usage[0]["to"]) - moment(usage[0]["from"])).total_seconds()
    # pppd takes less than 60 s for 60 s.
    check(58 <= first_part <= 64, f"Acct-Interim-Interval 60 s: {usage}")
    world.figures["Acct-Interim-Interval 60 s came after"] = f"{first_part:.1f} s"


@scene(
    "9b", "rates", 25,
    "rates of the Accept are kept by tc on the session's interface both ways, changed by a CoA-Request, mended, and gone with the session; nobody else has one",
)  # fmt: skip
def rates(world: World) -> None:
    up, down = 400_000, 800_000
    server = world.server()
    server.add_user("alice", "s3cret-pass", *reply(f"WISPr-Bandwidth-Max-Up = {up}", f"WISPr-Bandwidth-Max-Down = {down}"))
    server.add_user("bob")
    nas = world.start_nas()
    first, second = world.clients
    first.login("alice")
    (interface,) = nas.interfaces()
    approve(world, server, first, server.session("alice", "held"))
    second.login("bob")
    approve(world, server, second, server.session("bob", "held"))
    (other,) = set(nas.interfaces()) - {interface}
    towards, from_user = nas.limits(interface)
    check("tbf" in towards and "800Kbit" in towards, f"towards the user: {towards}")
    check("police" in from_user and "400Kbit" in from_user, f"from the user: {from_user}")
    for name in (other, "wan1", "lan0"):
        check("tbf" not in nas.limits(name)[0] and "police" not in nas.limits(name)[1], f"{name}: {nas.limits(name)}")
    seconds = 4.0
    for way, count, rate in (("down", received, down), ("up", sent, up)):
        octets = first.space.inside(count, INSIDE, seconds)
        most = rate / 8 * seconds
        world.figures[f"{way}, octets in {seconds:g} s at {rate // 1000} kbit/s"] = f"{octets} of {most:.0f}"
        # Below: TCP's own headers, and what it makes of policing. Above: the bucket, and what is on its way.
        check(most * 0.3 <= octets <= most * 1.2 + 65_000, f"{way}: {octets} octets in {seconds} s at {rate} bit/s")
        free = second.space.inside(count, INSIDE, 1.0)
        check(free > 3 * rate / 8, f"{way}: the other one has no limit, and got {free} octets in a second")
    nas.space.run("tc", "qdisc", "del", "dev", interface, "root")
    nas.space.run("tc", "qdisc", "del", "dev", interface, "ingress")
    until(lambda: nas.limits(interface) == (towards, from_user), "the limits are mended", 20, 0.3)
    nas.agent.kill()
    nas.start_agent()
    check(nas.limits(interface) == (towards, from_user), f"the same after a restart: {nas.limits(interface)}")
    said = order(server, "coa", "User-Name=alice,WISPr-Bandwidth-Max-Down=80000")
    check("CoA-ACK" in said, f"CoA-Request for another rate: {said}")
    check("80Kbit" in nas.limits(interface)[0], f"changed: {nas.limits(interface)}")
    first.hang_up()
    server.session("alice", "closed")
    until(lambda: interface not in nas.interfaces(), "the interface goes")
    first.login("bob")
    (again,) = set(nas.interfaces()) - {other}
    check("tbf" not in nas.limits(again)[0] and "police" not in nas.limits(again)[1], f"inherited: {nas.limits(again)}")


@scene(
    "11", "server away", 60,
    "the second server in the list answers when the first is away; with none a login fails cleanly and no hook hangs",
)  # fmt: skip
def away(world: World) -> None:
    # One store, two nodes.
    first = world.server()
    first.add_user("alice")
    second = world.server(address=SECOND_SERVER)
    nas = world.start_nas(servers=(SERVER, SECOND_SERVER))
    client = world.clients[0]
    first.kill()
    begun = time.monotonic()
    client.login("alice")
    world.figures["dial → link up, first server away"] = f"{time.monotonic() - begun:.1f} s"
    approve(world, second, client, second.session("alice", "held"))
    client.hang_up()
    second.session("alice", "closed")
    second.kill()
    begun = time.monotonic()
    client.dial("alice")
    client.refused(60)
    world.figures["no server: login fails after"] = f"{time.monotonic() - begun:.1f} s"
    until(lambda: not nas.interfaces() and not nas.pppds(), "the NAS hangs up, nothing hangs", 20)
    second.start()
    client.login("alice")
    sandboxed(client)
    # The line hangs up while no server is there: the Stop is kept or lost, but nothing hangs.
    second.kill()
    client.hang_up()
    until(lambda: not nas.interfaces() and not nas.pppds(), "the NAS hangs up without a server", 40)
    hooks_are_quick(world, nas, "no server", ups=2, downs=2)


@scene(
    "11b", "agent away", 30,
    "while the agent is away pppd's hooks go on at once: who dials in is in the sandbox, who hangs up is gone; back, the agent knows whom it missed, and lets them through when told to",
)  # fmt: skip
def agent_away(world: World) -> None:
    # No front: it is away together with the agent.
    server = world.server(signed=False)
    server.add_user("alice")
    server.add_user("bob")
    nas = world.start_nas(front=False)
    first, second = world.clients
    first.login("alice")
    approve(world, server, first, server.session("alice", "held"))
    nas.agent.kill()
    first.hang_up()
    second.login("bob")
    sandboxed(second)
    until(lambda: len(nas.interfaces()) == 1, "the one link that there is", 20)
    hooks_are_quick(world, nas, "no agent", ups=2, downs=1)
    held = server.session("bob", "held")
    nas.start_agent()
    sandboxed(second)
    approve(world, server, second, held)
    check("alice" not in nas.tell_agent("status"), "who is gone is no session")


def hooks_are_quick(world: World, nas, when: str, ups: int, downs: int) -> None:
    """So many hooks of each kind have ended, within a second and a half: the agent is waited for 0.6 s, and for the note 0.4 s."""
    for event, many in (("ip-pre-up", ups), ("ip-up", ups), ("ip-down", downs)):
        until(lambda one=event, least=many: len(nas.hook_seconds()[one]) >= least, f"{event} has run to its end {many} times", 10)
        taken = nas.hook_seconds()[event]
        world.figures[f"{when}: {event}, slowest of {len(taken)}"] = f"{max(taken) * 1000:.0f} ms"
        check(max(taken) <= 1.5, f"{event} took {max(taken):.2f} s")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def reply(*items: str) -> list[str]:
    """Options of `radhold user add` for further attributes of the Accept."""
    return [word for item in items for word in ("--reply", item)]
