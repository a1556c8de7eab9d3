"""Programs that die: the server, the agent, both, the NAS. Nothing is let through for it, and nothing is lost."""

import time

from ..lan import INSIDE, echoes
from ..process import check, until
from ..world import World
from .register import scene
from .steps import approve, confined, ended, let_through, sandboxed


@scene(
    "6", "kill -9", 60,
    "server, agent and both die while a session is held and while it is permitted: held stays held, permitted stays permitted, no decision is lost, and a held session ends even if the server never comes back",
)  # fmt: skip
def crash(world: World) -> None:
    server = world.server()
    for name in ("alice", "bob"):
        server.add_user(name)
    nas = world.start_nas()
    first, second = world.clients

    first.login("alice")
    held = server.session("alice", "held")
    server.kill()
    sandboxed(first)
    server.start()
    nas.agent.kill()
    sandboxed(first)
    nas.start_agent()
    sandboxed(first)
    server.kill()
    nas.agent.kill()
    confined(first)
    nas.start_agent()
    server.start()
    sandboxed(first)
    approve(world, server, first, server.session("alice", "held"))
    check(server.session("alice", "permitted")["id"] == held["id"], "the same session")

    flow = first.open_flow(INSIDE)
    server.kill()
    check(echoes(flow), "a permitted flow goes on without the server")
    nas.agent.kill()
    check(echoes(flow), "a permitted flow goes on without both")
    server.start()
    check(echoes(flow), "a permitted flow goes on without the agent")
    let_through(first)
    nas.start_agent()
    let_through(first)
    check(echoes(flow), "a permitted flow goes on after the agent's restart")

    # Both are asked to end it, though neither saw its beginning.
    server.decide("kick", held["id"])
    ended(server, first, "alice", 15)
    check(not echoes(flow), "the flow is cut")

    limit = 8
    nas.settings = f'sandbox_limit = "{limit}s"'
    nas.write_agent_toml()
    nas.agent.kill()
    nas.start_agent()
    heard = len(nas.agent.text())
    begun = time.monotonic()
    second.login("bob")
    up = time.monotonic()
    held = server.session("bob", "held")
    server.kill()
    sandboxed(second)
    # The agent is in time. What comes then is pppd: before it says LCP Terminate-Request it waits for the answer to its
    # Accounting-Stop, as long as radiusclient.conf has it wait; nobody answers.
    nas.agent.says("session is ended", limit + 5, after=heard)
    ended_at = time.monotonic()
    check(begun + limit <= ended_at <= up + limit + 1.5, f"ended {ended_at - begun:.1f} s after the dial, limit {limit} s")
    sandboxed(second)
    second.terminated(nas.accounting_patience() + 5)
    world.figures[f"server away, limit {limit} s: pppd told to end"] = f"{ended_at - up:.1f} s after the link was up"
    world.figures["… and has waited for the answer to its Stop"] = (
        f"{time.monotonic() - ended_at:.1f} s of {nas.accounting_patience()} s"
    )
    server.start()
    # Its Stop met no server; the Disconnect at the deadline, or an operator's, learns that it is gone.
    server.decide("kick", held["id"])
    closed = server.session("bob", "closed", 30)
    check(closed["end"]["cause"] in ("session-gone", "stop"), f"{closed['end']}")


@scene(
    "6b", "NAS reboot", 25,
    "after a power cut of the NAS nobody is let through by what was before; its sessions are closed once the server asks for them",
)  # fmt: skip
def reboot(world: World) -> None:
    server = world.server()
    server.add_user("alice")
    nas = world.start_nas()
    first, second = world.clients
    first.login("alice")
    before = server.session("alice", "held")
    approve(world, server, first, before)
    nas.crash()
    first.process.kill()
    first.process.stop()
    nas.space.run("nft", "-f", "/etc/radhold/nas.nft")
    nas.start_agent()
    nas.start_pptpd()
    address = second.login("alice")
    check(address == first.address, "the same address, the same name, the same interface")
    sandboxed(second)
    after = server.session("alice", "held")
    check(after["id"] != before["id"], "a session of its own")
    if server.show(before["id"])["state"] != "closed":
        server.decide("kick", before["id"])
    until(lambda: server.show(before["id"])["state"] == "closed", "the session of before is closed", 20, 0.3)
    check(second.process.running(), "the new session is not ended in the old one's place")
    sandboxed(second)
    approve(world, server, second, after)
