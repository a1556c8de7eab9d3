"""Arguments, the scenes one after the other, the summary, the exit code. Decides nothing about a scene."""

import argparse
import sys
import time
import traceback
from pathlib import Path

from . import report, scenes
from .world import World


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/lab/run")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--scene", action="append", default=[])
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--repo", type=Path)
    parser.add_argument("--radhold", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.list:
        for scene in scenes.ALL:
            print(f"{scene.number:<4}{scene.title}\n    {scene.proves}")
        return 0
    unknown = set(args.scene) - {scene.number for scene in scenes.ALL}
    if unknown:
        print(f"no scene {', '.join(sorted(unknown))}; --list tells which there are", file=sys.stderr)
        return 2

    results = []
    for scene in scenes.ALL:
        if args.scene and scene.number not in args.scene:
            continue
        result = report.Result(scene)
        print(f"-- {scene.number} {scene.title}", flush=True)
        begun = time.monotonic()
        try:
            with World(args.repo, args.radhold, args.out / f"scene-{scene.number}", keep=args.keep) as world:
                world.figures = result.figures
                scene.play(world)
        except Exception as problem:  # whatever it is, the run fails and the next scene is played
            result.problem = f"{type(problem).__name__}: {problem}".strip()
            (args.out / f"scene-{scene.number}" / "problem.txt").write_text(traceback.format_exc())
        result.seconds = time.monotonic() - begun
        results.append(result)
        print(f"   {result.line()}", flush=True)
        # After each, so that a run that is cut short leaves what it found.
        (args.out / "summary.md").write_text(report.summary(results))
    print((args.out / "summary.md").read_text(), flush=True)
    return 0 if results and all(result.problem is None for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
