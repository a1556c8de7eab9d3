"""The scenes. Each says what it proves; a step that does not come out ends the scene and fails the run.

They know the parts of the world by their names; how those are started is theirs.
"""

from .register import ALL, Scene
from . import hold, crash, login, links, units  # noqa: F401  (each adds its scenes)

ALL.sort(key=lambda one: (int(one.number.rstrip("bcd")), one.number))
__all__ = ["ALL", "Scene"]
