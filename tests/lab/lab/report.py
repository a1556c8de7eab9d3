"""What the scenes came to, on one page. Judges nothing but packets: a scene has passed when nothing in it failed."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Result:
    """One scene: how it ended, how long it took, and the figures it measured (name to text)."""

    number: str
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


def decode(out: Path, results: list[Result]) -> None:
    """A dissector that is not ours reads every RADIUS packet: none may be malformed. The text stays beside the capture."""
    for result in results:
        capture = out / f"scene-{result.number}" / "radius.pcap"
        if not capture.exists():
            result.problem = result.problem or "there is no capture"
            continue
        tshark = ["tshark", "-n", "-r", str(capture)]
        text = subprocess.run([*tshark, "-V"], capture_output=True, text=True)
        capture.with_suffix(".txt").write_text(text.stdout)
        wrong = subprocess.run(
            [*tshark, "-Y", "_ws.malformed or _ws.expert.severity == error"], capture_output=True, text=True
        ).stdout.strip()
        many = text.stdout.count("\nRADIUS Protocol")
        result.figures["RADIUS packets, malformed"] = f"{many}, {len(wrong.splitlines())}"
        if wrong or many == 0 or text.returncode != 0:
            result.problem = result.problem or f"tshark: {wrong or text.stderr.strip() or 'no RADIUS packet'}"


def summary(scenes: list, results: list[Result], times: str) -> str:
    """The page."""
    passed = sum(result.problem is None for result in results)
    seconds = sum(result.seconds for result in results)
    lines = [
        "# The lab",
        "",
        f"{passed} of {len(results)} scenes passed, {seconds:.0f} s of the lab's own time.{f' Of the host: {times}.' if times else ''}",
        "",
        "| scene | verdict | seconds | figures |",
        "|---|---|---|---|",
    ]
    for scene, result in zip(scenes, results, strict=True):
        facts = "<br>".join(f"{name}: {value}" for name, value in result.figures.items())
        if result.problem:
            problem = result.problem.replace("\n", " ").replace("|", "\\|")
            facts = f"**{problem[:600]}**" + (f"<br>{facts}" if facts else "")
        lines.append(f"| {scene.number} {scene.title} | {result.verdict} | {result.seconds:.1f} | {facts} |")
    lines += ["", "What each proves:", ""]
    lines += [f"- {scene.number}: {scene.proves}" for scene in scenes]
    lines += ["", "Each scene has a folder beside this page with its captures, the logs of every program in it, and what its seconds went to", "(steps.txt, spent.txt).", ""]
    return "\n".join(lines)
