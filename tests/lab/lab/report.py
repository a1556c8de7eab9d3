"""What the scenes came to, on one page. Judges nothing: a scene has passed when nothing in it failed."""

from dataclasses import dataclass, field


@dataclass
class Result:
    """One scene: how it ended, how long it took, and the figures it measured (name to text)."""

    scene: object
    problem: str | None = None
    seconds: float = 0.0
    figures: dict[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        return "pass" if self.problem is None else "FAIL"

    def line(self) -> str:
        facts = "; ".join(f"{name} {value}" for name, value in self.figures.items())
        return f"{self.verdict} {self.seconds:.1f} s{'; ' if facts else ''}{facts}" + (
            f"\n   {self.problem}" if self.problem else ""
        )


def summary(results: list[Result]) -> str:
    """The page."""
    passed = sum(result.problem is None for result in results)
    seconds = sum(result.seconds for result in results)
    lines = [
        "# The lab",
        "",
        f"{passed} of {len(results)} scenes passed, {seconds:.0f} s.",
        "",
        "| scene | verdict | seconds | figures |",
        "|---|---|---|---|",
    ]
    for result in results:
        facts = "<br>".join(f"{name}: {value}" for name, value in result.figures.items())
        if result.problem:
            problem = result.problem.replace("\n", " ").replace("|", "\\|")
            facts = f"**{problem[:600]}**" + (f"<br>{facts}" if facts else "")
        scene = result.scene
        lines.append(f"| {scene.number} {scene.title} | {result.verdict} | {result.seconds:.1f} | {facts} |")
    lines += ["", "What each proves:", ""]
    lines += [f"- {result.scene.number}: {result.scene.proves}" for result in results]
    lines += ["", "Each scene has a folder beside this page with its captures and the logs of every program in it.", ""]
    return "\n".join(lines)
