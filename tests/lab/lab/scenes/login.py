"""Who gets in and with what: refusals and their words, attributes of the Access-Accept, servers that are away."""

import time

from ..lan import INSIDE
from ..nas import SECOND_SERVER, SERVER
from ..process import check, until
from ..world import World
from .register import scene
from .steps import approve, sandboxed


PPTP = 1723


@scene(
    "4", "refusals", 20,
    "wrong password, unknown and disabled user: the login fails and the person reads why, as Reply-Message; a banned address is refused at once",
)  # fmt: skip
def refusals(world: World) -> None:
    server = world.server()
    server.add_user("alice")
    server.add_user("dora", "s3cret-pass", "--disabled")
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

    address = "10.90.1.2"
    nas.tell_agent("ban", address, "--for", "1h")
    tried = client.connect(client.nas, PPTP)
    check(tried.outcome == "refused" and tried.seconds < 1, f"a banned address is refused at once: {tried}")
    check(world.clients[1].connect(world.clients[1].nas, PPTP).outcome == "open", "others are not banned")
    nas.tell_agent("unban", address)
    client.login("alice")
    check("alice" in nas.tell_agent("status"), "the agent tells of the session")


@scene(
    "9", "attributes", 85,
    "Framed-IP-Address, Framed-Route, Framed-MTU, DNS, Session-Timeout, Idle-Timeout, octet limit and Acct-Interim-Interval of the Accept are honoured by pppd",
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
    # A route is for the scripts to add.
    told = world.out / "ip-up-ppp0-alice.env"
    until(lambda: told.exists() and told.stat().st_size > 0, "ip-up runs")
    check("RADIUS_FRAMED_ROUTE=10.98.0.0/24" in told.read_text(), f"Framed-Route: {told.read_text()}")
    approve(world, server, first, server.session("alice", "held"))

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
    usage = server.show(closed["id"])["usage"]
    check(len(usage) >= 2, f"an interim update and a Stop: {usage}")


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


def reply(*items: str) -> list[str]:
    """Options of `radhold user add` for further attributes of the Accept."""
    return [word for item in items for word in ("--reply", item)]
