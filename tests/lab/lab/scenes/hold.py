"""The hold and its ends: approved, not answered, denied; two at once; an address used again."""

import math
import time

from ..lan import INSIDE, SERVICE, answer_of_old_flow, echoes
from ..process import Failed, check, until
from ..world import World
from .register import scene
from .steps import answer, approve, confined, ended, let_through, sandboxed, struck


@scene(
    "1", "login, sandbox, approve", 12,
    "a real PPTP client is let in by MS-CHAPv2 and MPPE-128 and reaches only DNS and the portal; within one second of the approval it is through; Accounting-Stop has the counters of what was sent",
)  # fmt: skip
def hold(world: World) -> None:
    server = world.server()
    server.add_user("alice")
    nas = world.start_nas()
    client = world.clients[0]
    begun = time.monotonic()
    client.login("alice")
    world.figures["dial → link up"] = f"{time.monotonic() - begun:.1f} s"
    check("MPPE 128-bit stateless compression enabled" in client.process.text(), "MPPE-128 is on")
    (interface,) = nas.interfaces()
    check("Filter-Id sandbox" in nas.radattr(interface), nas.radattr(interface))
    held = server.session("alice", "held")
    world.figures["sandbox refuses after"] = f"{sandboxed(client) * 1000:.0f} ms"
    confined(client)

    approve(world, server, client, held, figure=True)
    server.session("alice", "permitted")
    check(client.fetch(INSIDE) == answer("inside"), "HTTP goes where it should after the approval")

    up, down = 300_000, 500_000
    client.exchange(INSIDE, up, down)
    client.hang_up()
    closed = server.session("alice", "closed")
    check(closed["end"]["cause"] == "stop" and closed["end"]["terminate_cause"] == 1, f"User-Request: {closed['end']}")
    counted = closed["counters"]
    # Of each segment (some 1350 octets) headers of IP and TCP come on top, and the other direction's acknowledgements.
    for name, sent in (("input_octets", up), ("output_octets", down)):
        check(sent <= counted[name] <= sent * 1.10 + 20_000, f"{name} {counted[name]} for {sent} octets of payload")
    world.figures["octets up, down"] = f"{counted['input_octets']} of {up}, {counted['output_octets']} of {down}"


@scene(
    "2", "no answer", 22,
    "a session that nobody approves is ended at its deadline, which is a strike; the client sees LCP terminate",
)  # fmt: skip
def deadline(world: World) -> None:
    window = 12
    server = world.server(window=f"{window}s")
    server.add_user("alice")
    world.start_nas()
    client = world.clients[0]
    client.login("alice")
    held = server.session("alice", "held")
    sandboxed(client)
    closed, _ = ended(server, client, "alice", 30)
    check(closed["decision"] is None, f"nobody decided: {closed['decision']}")
    struck(server, "alice", "unanswered", held["id"])
    check(server.answered(held["id"], "send-disconnect", "dynauth.ack"), "the agent acknowledged the Disconnect-Request")
    late = server.became(held["id"], "evicting") - server.accepted(held["id"]) - window
    check(0 <= late <= 1.5, f"evicted {late:.2f} s after the deadline")
    gone = server.became(held["id"], "closed") - server.became(held["id"], "evicting")
    world.figures["deadline → Disconnect-Request"] = f"{late * 1000:.0f} ms"
    world.figures["Disconnect-Request → Accounting-Stop"] = f"{gone * 1000:.0f} ms"


@scene(
    "3", "not me", 12,
    "a denied session is ended at once, which is a strike; the client sees LCP terminate",
)  # fmt: skip
def denied(world: World) -> None:
    server = world.server()
    server.add_user("alice")
    world.start_nas()
    client = world.clients[0]
    client.login("alice")
    held = server.session("alice", "held")
    pressed = server.decide("deny", held["id"])
    until(lambda: "LCP TermReq" in client.process.text(), "the client is told to go", 10)
    told = time.monotonic() - pressed
    closed, _ = ended(server, client, "alice", 15)
    check(closed["decision"]["verdict"] == "denied", f"{closed['decision']}")
    struck(server, "alice", "denied", held["id"])
    world.figures["press → LCP Terminate-Request at the client"] = f"{told * 1000:.0f} ms"
    check(told < 3, f"told to go {told:.2f} s after the press")


@scene(
    "5", "two logins in one second", 25,
    "two sessions of one user that share pppd's Acct-Session-Id are told apart by Class: one is approved, the other denied, and each gets its own outcome",
)  # fmt: skip
def twins(world: World) -> None:
    # No front: it would give each an Acct-Session-Id of its own.
    two_at_once(world, front=False)


@scene(
    "5b", "two logins in one second, through the front", 25,
    "the front gives two sessions that share pppd's Acct-Session-Id one of their own each; one is approved, the other denied, and each gets its own outcome",
)  # fmt: skip
def twins_through_the_front(world: World) -> None:
    two_at_once(world, front=True)


def two_at_once(world: World, front: bool) -> None:
    server = world.server(signed=front)
    server.add_user("alice")
    nas = world.start_nas(front=front)
    first, second = world.clients
    for _ in range(6):
        for client in world.clients:
            client.dial("alice")
        addresses = [client.up() for client in world.clients]
        held = {}
        for address in addresses:
            held[address] = until(lambda a=address: by_address(server, a, "held"), f"{address} is held", 20, 0.3)
        ids = [held[address]["identity"]["acct_session_id"] for address in addresses]
        # What pppd itself says is the second; the front puts something of its own behind it.
        if len({one.split("-")[0] for one in ids}) == 1:
            break
        # Not in one second: once more.
        for client in world.clients:
            client.hang_up()
        until(lambda: not nas.interfaces(), "both links are gone")
    else:
        raise Failed(f"six times two logins, never in the same second: {ids}")
    world.figures["Acct-Session-Ids" if front else "shared Acct-Session-Id"] = ", ".join(dict.fromkeys(ids))
    check((ids[0] != ids[1]) == front, f"{ids}")
    check(held[addresses[0]]["id"] != held[addresses[1]]["id"], "two sessions")
    approve(world, server, first, held[addresses[0]])
    sandboxed(second)
    server.decide("deny", held[addresses[1]]["id"])
    second.terminated(15)
    let_through(first)
    until(lambda: by_address(server, addresses[1], "closed"), "the denied one is closed", 20, 0.3)
    check(by_address(server, addresses[0], "permitted") is not None, "the approved one stays permitted")
    first.hang_up()
    until(lambda: by_address(server, addresses[0], "closed"), "the approved one closes when its client hangs up", 20, 0.3)


@scene(
    "7", "address used again", 20,
    "the next client with the address of a permitted session starts in the sandbox, and no packet of the old flow passes",
)  # fmt: skip
def reuse(world: World) -> None:
    address = "10.99.0.77"
    server = world.server()
    for name in ("alice", "bob"):
        server.add_user(name, "s3cret-pass", "--reply", f"Framed-IP-Address = {address}")
    world.start_nas()
    first, second = world.clients
    check(first.login("alice") == address, "Framed-IP-Address is honoured")
    approve(world, server, first, server.session("alice", "held"))
    flow = first.open_flow(INSIDE)
    check(echoes(flow), "the flow works while permitted")
    port = flow.getsockname()[1]
    # The line breaks: no FIN, so both the inside host and the NAS's connection tracking still know the flow.
    first.process.kill()
    first.process.stop()
    server.session("alice", "closed")
    check(second.login("bob") == address, "the address is used again")
    check(server.session("bob", "held")["identity"]["framed_ip"] == address, "by the session that is held")
    world.capture("old-flow", "lan", "nas0", f"host {INSIDE} and tcp port {SERVICE}")
    before = world.packets("old-flow")
    sandboxed(second)
    for _ in range(5):
        second.space.inside(answer_of_old_flow, second.interface, address, port, INSIDE)
    time.sleep(1)
    check(world.packets("old-flow") == before, "a packet of the old flow reached the inside host")
    approve(world, server, second, server.session("bob", "held"))
    until(lambda: world.packets("old-flow") > before, "the capture sees what does pass")
    flow.close()


@scene(
    "13", "many logins", 30,
    "logins one after the other, 5 or as many as --logins says: from the press to the first packet through, median and 99th percentile",
)  # fmt: skip
def many(world: World) -> None:
    server = world.server()
    server.add_user("alice")
    world.start_nas()
    client = world.clients[0]
    taken = []
    for _ in range(world.logins):
        client.login("alice")
        held = server.session("alice", "held")
        taken.append(approve(world, server, client, held))
        client.hang_up()
        until(lambda one=held["id"]: server.show(one)["state"] == "closed", "the session is closed", 20, 0.2)
    taken.sort()
    median, p99 = taken[len(taken) // 2], taken[math.ceil(len(taken) * 0.99) - 1]
    figure = f"press → first packet through, median, p99 of {len(taken)} logins"
    world.figures[figure] = f"{median * 1000:.0f} ms, {p99 * 1000:.0f} ms"


def by_address(server, address: str, state: str) -> dict | None:
    """The newest session with this Framed-IP-Address, if it is in this state."""
    one = next((one for one in server.sessions() if one["identity"]["framed_ip"] == address), None)
    return one if one and one["state"] == state else None

