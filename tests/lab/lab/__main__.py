"""Arguments, the scenes one after the other, the exit code. Decides nothing about a scene.

Runs in two places: where the scenes are played (--play), and on the host, which shares them out (--plan) and sums up (--sum-up).
"""

import argparse
import json
import shutil
import sys
import time
import traceback
from pathlib import Path

from . import report, scenes
from .spent import Spent
from .world import World


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/lab/run")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--sum-up", action="store_true")
    parser.add_argument("--play", metavar="NAME")
    parser.add_argument("--scene", action="append", default=[])
    parser.add_argument("--logins", type=int, default=5)
    parser.add_argument("--times", default="", metavar="TEXT")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--repo", type=Path)
    parser.add_argument("--radhold", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.list:
        for scene in scenes.ALL:
            print(f"{scene.number:<4}{scene.title}\n    {scene.proves}")
        return 0
    numbers = [scene.number for scene in scenes.ALL]
    unknown = [number for number in args.scene if number not in numbers]
    if unknown:
        print(f"tests/lab/run: no scene {', '.join(unknown)}; --list tells which there are", file=sys.stderr)
        return 2
    wanted = [scene for scene in scenes.ALL if not args.scene or scene.number in args.scene]
    if args.plan:
        return plan(wanted)
    if args.sum_up:
        return sum_up(wanted, args.out, args.times)
    return play(wanted, args)


def plan(wanted) -> int:
    """Prints a line for each process 1 that scenes want: its name and theirs, the longest first, so that none is left for the end."""
    for init in ("systemd", "plain"):
        if numbers := [scene.number for scene in sorted(wanted, key=lambda one: -one.cost) if scene.init == init]:
            print(init, *numbers)
    return 0


def play(wanted, args) -> int:
    """Plays those scenes that nobody else has taken, in the order they are named, and writes down, after each, what came of them: a
    run that is cut short leaves what it found."""
    results = []
    for scene in sorted(wanted, key=lambda one: args.scene.index(one.number)):
        try:
            (args.out / "taken" / scene.number).mkdir()
        except FileExistsError:
            continue
        result = report.Result(scene.number)
        print(f"-- {scene.number} {scene.title}", flush=True)
        kept = args.out / f"scene-{scene.number}"
        # In memory while it is played: writing to the host stops a guest for longer than what is measured.
        out = Path("/tmp/lab-out") / kept.name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        begun, spent = time.monotonic(), Spent(Path("/tmp/lab-accounts"))
        try:
            options = {"logins": args.logins, "keep": args.keep, "one_host": scene.init == "systemd"}
            with World(args.repo, args.radhold, out, files=args.out / "nas", **options) as world:
                world.figures = result.figures
                scene.play(world)
        except Exception as problem:  # whatever it is, the run fails and the next scene is played
            result.problem = f"{type(problem).__name__}: {problem}".strip()
            (out / "problem.txt").write_text(traceback.format_exc())
        result.seconds = time.monotonic() - begun
        (out / "spent.txt").write_text(spent.text())
        shutil.copytree(out, kept, dirs_exist_ok=True)
        shutil.rmtree(out)
        results.append(result)
        print(f"   {scene.number} {result.line()}", flush=True)
        (args.out / f"results-{args.play}.json").write_text(json.dumps([vars(one) for one in results]))
    return 0


def sum_up(wanted, out: Path, times: str) -> int:
    """Writes the summary of all that was wanted; a scene without a result has failed. `times`: where the host's time went."""
    found = {}
    for file in out.glob("results-*.json"):
        for one in json.loads(file.read_text()):
            found[one["number"]] = report.Result(**one)
        file.unlink()
    missing = "it was never played to its end: see the console's log"
    results = [found.get(scene.number, report.Result(scene.number, problem=missing)) for scene in wanted]
    report.decode(out, results)
    text = report.summary(wanted, results, times)
    (out / "summary.md").write_text(text)
    print(text, flush=True)
    return 0 if all(result.problem is None for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
