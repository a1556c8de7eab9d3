"""Programs that run while a scene is played, and waiting for what they do. Knows no program by name."""

import os
import signal
import subprocess
import time
from pathlib import Path


class Failed(Exception):
    """A step of a scene did not come out as it must."""


def check(fact: bool, what: str) -> None:
    """Fails the scene when something that must hold does not."""
    if not fact:
        raise Failed(what)


def until(question, what: str, seconds: float = 20.0, pause: float = 0.05):
    """Asks again and again until the answer is true; gives the answer. Fails after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Failed(f"not within {seconds:g} s: {what}")
        time.sleep(pause)


class Process:
    """A program with its output in a file. Killed with its descendants when the scene is over."""

    def __init__(self, words: list[str], log: Path, environment: dict[str, str] | None = None):
        self.log = log
        with log.open("ab") as sink:
            self.child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        return self.child.pid

    def running(self) -> bool:
        return self.child.poll() is None

    def text(self) -> str:
        """All it has said so far."""
        return self.log.read_text(errors="replace")

    def says(self, words: str, seconds: float = 20.0, after: int = 0) -> str:
        """Waits until it has said this (`after` so many characters); gives all it has said from there on."""

        def answer() -> str:
            text = self.text()[after:]
            if words not in text and not self.running():
                text = self.text()[after:]
                check(words in text, f"{self.log.name}: ended with {self.child.returncode} before {words!r}: {text[-400:]}")
            return text if words in text else ""

        return until(answer, f"{words!r} in {self.log.name}: {self.text()[after:][-400:]}", seconds)

    def ends(self, seconds: float = 20.0) -> int:
        """Waits for its end; gives the exit code."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.log.name}: still there after {seconds:g} s") from None

    def signal(self, number: int) -> None:
        os.kill(self.child.pid, number)

    def kill(self) -> None:
        """`kill -9`: no goodbye."""
        self.child.kill()
        self.child.wait()

    def stop(self) -> None:
        """TERM to it and all it started, and KILL to what does not listen."""
        for number, patience in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)):
            try:
                os.killpg(self.child.pid, number)
            except ProcessLookupError:
                break
            try:
                self.child.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue
