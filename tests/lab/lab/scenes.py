"""The scenes. Each says what it proves; a step that does not come out ends the scene and fails the run.

Knows the parts of the world by their names; how they are started is theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass

from .process import check
from .world import World


@dataclass(frozen=True)
class Scene:
    """One scene: its number, what it is called, what it proves, and the play."""

    number: str
    title: str
    proves: str
    play: Callable[[World], None]


ALL: list[Scene] = []


def scene(number: str, title: str, proves: str):
    """Adds a scene to the list."""

    def add(play: Callable[[World], None]) -> Callable[[World], None]:
        ALL.append(Scene(number, title, proves, play))
        return play

    return add


@scene("0", "login and accounting", "a real PPTP client gets in by MS-CHAPv2 and MPPE-128, is given Filter-Id sandbox, and Start and Stop are recorded")
def login(world: World) -> None:
    server = world.server()
    server.add_user("alice")
    nas = world.start_nas()
    client = world.clients[0]
    client.login("alice")
    check("MPPE 128-bit stateless compression enabled" in client.process.text(), "MPPE-128 is on")
    (interface,) = nas.interfaces()
    check("Filter-Id sandbox" in nas.radattr(interface), nas.radattr(interface))
    held = server.session("alice", "held")
    check(held["started_at"] is not None, f"Accounting-Start is recorded: {held}")
    client.hang_up()
    closed = server.session("alice", "closed")
    check(closed["end"]["cause"] == "stop", f"{closed['end']}")
