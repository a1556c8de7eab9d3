"""Other ways in: IPv6 over PPP, a serial line, PPPoE."""

import time
from pathlib import Path

from ..client import NETWORK, Client
from ..lan import INSIDE, INSIDE6, SERVICE, answer_of_old_flow6, echoes
from ..line import configure_request
from ..process import Process, check, until
from ..world import World
from .register import scene
from .steps import approve, confined, ended, let_through, order, sandboxed

CLIENT6 = "2001:db8:99::2"
# Of the prefix that is delegated to the client.
BEHIND6 = "2001:db8:98::1"
LINE = Path("/tmp/lab-line")
INJECT = Path("/tmp/lab-line-inject")


@scene(
    "8", "IPv6 over PPP", 20,
    "IPv6 in the link is sandboxed and permitted together with IPv4, also from a delegated prefix, and a session is known by the prefixes and the interface identifier of the Accept as pppd wrote them down; who uses its addresses next starts in the sandbox, and no packet of the old flow passes",
)  # fmt: skip
def ipv6(world: World) -> None:
    server = world.server()
    replies = {
        "Framed-IPv6-Prefix": "2001:db8:99::/64", "Delegated-IPv6-Prefix": "2001:db8:98::/48", "Framed-Interface-Id": "0:0:0:50",
        "Framed-IPv6-Route": "2001:db8:98::/48 :: 1", "Framed-IP-Address": "10.99.0.77",
    }  # fmt: skip
    for user in ("alice", "bob"):
        server.add_user(user, "s3cret-pass", *(word for name, value in replies.items() for word in ("--reply", f"{name} = {value}")))
    nas = world.start_nas()
    client, next_one = world.clients

    def dial(one, user: str) -> None:
        # pppd gives nobody an interface identifier: the client has the one of the Accept by itself.
        one.login(user, "s3cret-pass", "+ipv6", "ipv6", "::50,")
        one.process.says("remote LL address")
        # A prefix for the link, as an operator's ipv6-up would route it; pppd itself knows link-local addresses alone.
        one.space.run("ip", "address", "add", f"{CLIENT6}/64", "dev", one.interface, "nodad")
        one.space.run("ip", "address", "add", f"{BEHIND6}/128", "dev", "lo", "nodad")
        one.space.run("ip", "-6", "route", "add", "2001:db8:91::/64", "dev", one.interface)
        (interface,) = nas.interfaces()
        nas.space.run("ip", "-6", "route", "add", "2001:db8:99::/64", "dev", interface)

    dial(client, "alice")
    held = server.session("alice", "held")
    sandboxed(client)
    sandboxed(client, INSIDE6)
    check(nas.routes() == "", f"no route while it is held: {nas.routes()}")
    through = client.first_through(INSIDE6, SERVICE)
    approve(world, server, client, held)
    check(through.result() != float("inf"), "IPv6 is never let through")
    let_through(client, INSIDE6)
    until(lambda: "2001:db8:98::/48 dev " in nas.routes(), "the route behind the user", 5)
    until(lambda: client.space.connect(INSIDE6, SERVICE, source=BEHIND6).outcome == "open", "from the delegated prefix, and back", 5)
    known_by_ipv6(world, server, nas, client)
    flow = client.open_flow(INSIDE6)
    check(echoes(flow), "the flow works while permitted")
    port = flow.getsockname()[1]
    # The line breaks, and the next client has the interface, the addresses and the route.
    client.process.kill()
    client.process.stop()
    server.session("alice", "closed")
    check(nas.routes() == "", f"the route goes with the session: {nas.routes()}")
    dial(next_one, "bob")
    held = server.session("bob", "held")
    world.capture("old-flow", "lan", "nas0", f"host {INSIDE6} and tcp port {SERVICE}")
    before = world.packets("old-flow")
    sandboxed(next_one)
    sandboxed(next_one, INSIDE6)
    for _ in range(5):
        next_one.space.inside(answer_of_old_flow6, next_one.interface, CLIENT6, port, INSIDE6)
    time.sleep(1)
    check(world.packets("old-flow") == before, "a packet of the old flow reached the inside host")
    approve(world, server, next_one, held)
    until(lambda: next_one.connect(INSIDE6, SERVICE).outcome == "open", "IPv6 is let through, and answers come back", 5)
    check(world.packets("old-flow") > before, "the capture sees what does pass")
    server.decide("kick", held["id"])
    ended(server, next_one, "bob", 15)
    flow.close()


def known_by_ipv6(world: World, server, nas, client) -> None:
    """What radattr.so has written of the Accept's IPv6 attributes is what a server may name the session by."""
    (interface,) = nas.interfaces()
    told = dict(line.split(" ", 1) for line in nas.radattr(interface).splitlines())
    of_ipv6 = {name: value for name, value in told.items() if "IPv6" in name or "Interface-Id" in name}
    world.figures["radattr"] = ", ".join(f"{name} {value}" for name, value in of_ipv6.items())
    for name, other, value in (
        ("Framed-IPv6-Prefix", "2001:db8:97::/64", "2001:db8:99::/64"),
        ("Delegated-IPv6-Prefix", "2001:db8:99::/48", "2001:db8:98::/48"),
        ("Framed-Interface-Id", "0000:0000:0000:0051", "0000:0000:0000:0050"),
    ):  # fmt: skip
        check(name in of_ipv6, f"{name} is not in radattr: {told}")
        said = order(server, "coa", f"{name}={other},Filter-Id=sandbox")
        check("CoA-NAK" in said and "Session-Context-Not-Found" in said, f"{name} of another session: {said}")
        let_through(client, INSIDE6)
        for state, then in (("sandbox", sandboxed), ("permit", let_through)):
            said = order(server, "coa", f"{name}={value},Filter-Id={state}")
            check("CoA-ACK" in said, f"{name}={value}, {state}: {said}")
            for address in (INSIDE, INSIDE6):
                then(client, address)


@scene(
    "10", "serial line", 40,
    "a plain pppd on a line without pptpd is held, approved, denied and ended at the deadline alike",
)  # fmt: skip
def serial(world: World) -> None:
    other_ways_in(world, lambda space: answer_line(world, space), f"socat stdio unix-connect:{LINE}", "line")


def answer_line(world: World, space: str) -> Process:
    answering = "exec:'pppd nodetach file /etc/ppp/lab-line.options 10.99.3.1:10.99.3.10',pty,raw,echo=0,setsid,ctty"
    LINE.unlink(missing_ok=True)
    line = ["socat", f"unix-listen:{LINE},fork", answering]
    process = Process(["ip", "netns", "exec", space, *line], world.out / "line.log")
    until(lambda: LINE.exists(), "the line is there")
    return process


@scene(
    "10d", "IPCP negotiated again", 30,
    "a permitted client that has IPCP taken down and up again, for which pppd sends Stop and Start, is in the sandbox at once, and ended; who asks for WINS servers gets those of the Accept",
)  # fmt: skip
def renegotiated(world: World) -> None:
    server = world.server()
    wins = ("10.91.0.55", "10.91.0.56")
    named = (f"{which} = {one}" for which, one in zip(("MS-Primary-NBNS-Server", "MS-Secondary-NBNS-Server"), wins))
    server.add_user("alice", "s3cret-pass", *(word for item in named for word in ("--reply", item)))
    nas = world.start_nas()
    nas.answer_with("line", lambda space: answer_line(world, space))
    client = world.clients[0]
    client.login("alice", through=f"env PYTHONPATH={Path(__file__).parents[2]} python3 -m lab.line {LINE} {INJECT}")
    held = server.session("alice", "held")
    sandboxed(client)
    approve(world, server, client, held)
    # A Configure-Request in its client's name: the NAS's IPCP is Opened, so it goes down and begins again (RFC 1661 §4.3). It asks
    # for WINS servers as Windows does; a pppd as client never asks.
    begun = time.monotonic()
    INJECT.write_bytes(configure_request(client.address))
    until(lambda: not INJECT.exists(), "the request is on the line", 10)
    until(lambda: client.connect(INSIDE, SERVICE).outcome != "open", "nothing passes any more", 5)
    client.terminated(30)
    world.figures["IPCP negotiated again, ended after"] = f"{time.monotonic() - begun:.1f} s"
    until(lambda: not nas.pppds(), "pppd has ended", 15)
    check("Terminating on signal 15" in nas.pppd_log(), f"the agent ended it: {nas.pppd_log()[-2000:]}")
    for one in wins:
        check(f"<ms-wins {one}>" in nas.pppd_log(), f"WINS {one}: {nas.pppd_log()[-2000:]}")
    closed = server.show(held["id"])
    check(closed["state"] == "closed" and closed["end"]["cause"] == "stop", f"pppd's Stop ended the session: {closed['end']}")


@scene(
    "10b", "PPPoE", 40,
    "rp-pppoe's server in user mode: held, approved, denied and ended at the deadline alike",
)  # fmt: skip
def pppoe(world: World) -> None:
    def answer(space: str) -> Process:
        words = [
            "pppoe-server", "-F", "-I", "wan1", "-L", "10.99.2.1", "-R", "10.99.2.10", "-N", "10",
            "-O", "/etc/ppp/lab-pppoe.options",
        ]  # fmt: skip
        return Process(["ip", "netns", "exec", space, *words], world.out / "pppoe-server.log")

    other_ways_in(world, answer, "pppoe -I nas0 -T 80 -m 1412", "pppoe")


@scene(
    "10c", "L2TP", 40,
    "xl2tpd and its kernel's L2TP, without IPsec: held, approved, denied and ended at the deadline alike",
)  # fmt: skip
def l2tp(world: World) -> None:
    def answer(space: str) -> Process:
        # The operator's own file, but for the name of pppd's options.
        own = Path("/etc/xl2tpd/xl2tpd.conf").read_text().replace("/etc/ppp/radhold-l2tp.options", "/etc/ppp/lab-l2tp.options")
        conf = Path("/etc/xl2tpd/lab.conf")
        conf.write_text(own)
        words = ["xl2tpd", "-D", "-c", str(conf), "-p", "/run/xl2tpd-nas.pid", "-C", "/run/xl2tpd-nas.control"]
        process = Process(["ip", "netns", "exec", space, *words], world.out / "xl2tpd.log")
        process.says("Listening on IP address")
        return process

    other_ways_in(world, answer, None, "l2tp")


def other_ways_in(world: World, answer, carrier: str | None, name: str) -> None:
    """Scenes 1 to 3 once more, over this carrier; without one by L2TP."""
    window = 12
    server = world.server(window=f"{window}s")
    for user in ("alice", "bob", "carol"):
        server.add_user(user)
    nas = world.start_nas()
    nas.answer_with(name, answer)
    client = world.clients[0]

    login(client, "alice", carrier)
    confined(client)
    approve(world, server, client, server.session("alice", "held"))
    client.exchange(INSIDE, 20_000, 20_000)
    client.hang_up()
    counted = server.session("alice", "closed")["counters"]
    check(20_000 <= counted["input_octets"] <= 30_000, f"{counted}")

    login(client, "bob", carrier)
    server.decide("deny", server.session("bob", "held")["id"])
    ended(server, client, "bob", 15)

    login(client, "carol", carrier)
    sandboxed(client)
    server.session("carol", "held")
    ended(server, client, "carol", window + 15)


def login(client: Client, user: str, carrier: str | None) -> None:
    if carrier:
        client.login(user, through=carrier)
    else:
        client.dial_l2tp(user)
        client.up()
