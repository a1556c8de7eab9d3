"""The list of scenes. Knows no scene."""

from collections.abc import Callable
from dataclasses import dataclass

from ..world import World


@dataclass(frozen=True)
class Scene:
    """One scene: its number in the list of what must pass, what it is called, what it proves, about how many seconds it
    takes, the play, and what process 1 must be: "plain" (any) or "systemd"."""

    number: str
    title: str
    proves: str
    cost: int
    play: Callable[[World], None]
    init: str = "plain"


ALL: list[Scene] = []


def scene(number: str, title: str, cost: int, proves: str, init: str = "plain"):
    """Adds a scene to the list."""

    def add(play: Callable[[World], None]) -> Callable[[World], None]:
        ALL.append(Scene(number, title, proves, cost, play, init))
        return play

    return add
