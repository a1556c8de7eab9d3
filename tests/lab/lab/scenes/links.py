"""Other ways in: IPv6 over PPP, a serial line, PPPoE."""

from pathlib import Path

from ..lan import INSIDE, INSIDE6, SERVICE
from ..process import Process, check, until
from ..world import World
from .register import scene
from .steps import approve, confined, ended, let_through, sandboxed

CLIENT6 = "2001:db8:99::2"
LINE = Path("/tmp/lab-line")


@scene(
    "8", "IPv6 over PPP", 14,
    "IPv6 in the link is sandboxed and permitted together with IPv4",
)  # fmt: skip
def ipv6(world: World) -> None:
    server = world.server()
    server.add_user("alice")
    nas = world.start_nas()
    client = world.clients[0]
    client.dial("alice", "s3cret-pass", "+ipv6")
    client.up()
    client.process.says("remote LL address")
    # A prefix for the link, as an operator's ipv6-up would route it; pppd itself knows link-local addresses alone.
    client.space.run("ip", "address", "add", f"{CLIENT6}/64", "dev", client.interface, "nodad")
    client.space.run("ip", "-6", "route", "add", "2001:db8:91::/64", "dev", client.interface)
    nas.space.run("ip", "-6", "route", "add", "2001:db8:99::/64", "dev", nas.interfaces()[0])
    held = server.session("alice", "held")
    sandboxed(client)
    sandboxed(client, INSIDE6)
    through = client.first_through(INSIDE6, SERVICE)
    approve(world, server, client, held)
    check(through.result() != float("inf"), "IPv6 is never let through")
    let_through(client, INSIDE6)
    server.decide("kick", held["id"])
    ended(server, client, "alice", 15)


@scene(
    "10", "serial line", 40,
    "a plain pppd on a line without pptpd is held, approved, denied and ended at the deadline alike",
)  # fmt: skip
def serial(world: World) -> None:
    answering = "exec:'pppd nodetach file /etc/ppp/lab-line.options 10.99.3.1:10.99.3.10',pty,raw,echo=0,setsid,ctty"
    LINE.unlink(missing_ok=True)

    def answer(space: str) -> Process:
        line = ["socat", f"unix-listen:{LINE},fork", answering]
        process = Process(["ip", "netns", "exec", space, *line], world.out / "line.log")
        until(lambda: LINE.exists(), "the line is there")
        return process

    other_ways_in(world, answer, f"socat stdio unix-connect:{LINE}", "line")


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


def other_ways_in(world: World, answer, carrier: str, name: str) -> None:
    """Scenes 1 to 3 once more, over this carrier."""
    window = 12
    server = world.server(window=f"{window}s")
    for user in ("alice", "bob", "carol"):
        server.add_user(user)
    nas = world.start_nas()
    nas.answer_with(name, answer)
    client = world.clients[0]

    client.login("alice", through=carrier)
    confined(client)
    approve(world, server, client, server.session("alice", "held"))
    client.exchange(INSIDE, 20_000, 20_000)
    client.hang_up()
    counted = server.session("alice", "closed")["counters"]
    check(20_000 <= counted["input_octets"] <= 30_000, f"{counted}")

    client.login("bob", through=carrier)
    server.decide("deny", server.session("bob", "held")["id"])
    ended(server, client, "bob", 15)

    client.login("carol", through=carrier)
    sandboxed(client)
    server.session("carol", "held")
    ended(server, client, "carol", window + 15)
