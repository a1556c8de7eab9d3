"""The server under test: `radhold serve` in the namespace `aaa`, and the operator's commands on it.

Knows radhold from outside only: its configuration, command line and log.
"""

import json
import signal
import sqlite3
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

from .net import Namespace
from .process import Failed, Process, check, until


class Aaa:
    """One server with a state of its own."""

    def __init__(self, space: Namespace, radhold: Path, out: Path, state: Path, address: str, settings: str):
        self.space, self.radhold, self.out = space, radhold, out
        self.address = address
        self.process: Process | None = None
        self.name = f"radhold-{address.rsplit('.', 1)[1]}"
        state.mkdir(parents=True, exist_ok=True)
        self.config = state / f"{self.name}.toml"
        self.store = state / "radhold.sqlite"
        words = state / "dictionaries"
        words.mkdir(exist_ok=True)
        # pppd's own, beside the standard: a limit on what a session may carry.
        (words / "dictionary.pppd").write_text("ATTRIBUTE\tSession-Octets-Limit\t227\tinteger\n")
        self.config.touch(mode=0o600)
        self.config.write_text(
            f"""state_dir = "{state}"
node = "{self.name}"
[server]
auth = ["{address}:1812"]
accounting = ["{address}:1813"]
reject_delay = "0s"
[dictionary]
directory = "{words}"
[log]
format = "json"
filter = "radhold=debug,info"
{settings}
"""
        )

    def start(self) -> None:
        """Starts it, or starts it again; returns when it is ready."""
        log = self.out / f"{self.name}.log"
        before = len(log.read_text()) if log.exists() else 0
        self.process = Process(
            ["ip", "netns", "exec", self.space.name, str(self.radhold), "serve", "--config", str(self.config)], log
        )
        self.process.says("radhold is ready", after=before)

    def kill(self) -> None:
        """`kill -9` while it works."""
        # `ip netns exec` becomes the program itself, so this pid is radhold's.
        self.process.kill()

    def stop(self) -> None:
        """Asks it to end; it must, and without an error."""
        self.process.signal(signal.SIGTERM)
        code = self.process.ends()
        check(code == 0, f"radhold serve ended with {code}")

    def cli(self, *words: str, text_in: str | None = None, check: bool = True):
        """Runs a command on its store."""
        return self.space.run(str(self.radhold), *words, "--config", str(self.config), text_in=text_in, check=check)

    def add_user(self, name: str, password: str = "s3cret-pass", *options: str) -> None:
        self.cli("user", "add", name, "--password-stdin", *options, text_in=password + "\n")

    def sessions(self, user: str | None = None) -> list[dict]:
        """All sessions, or those of a user, the newest first."""
        listed = json.loads(self.cli("session", "list", "--all", "--json").stdout)
        return [one for one in listed if user in (None, one["user"])]

    def strikes(self) -> list[tuple[str, str, str]]:
        """User-Name, why and session of all strikes, from the view for whoever reports."""
        with closing(sqlite3.connect(self.store, timeout=10)) as store:
            return store.execute("SELECT user_name, why, session_id FROM report_strikes ORDER BY at").fetchall()

    def session(self, user: str, state: str, seconds: float = 20.0) -> dict:
        """Waits until a session of this user is in this state; gives the newest such."""

        def is_so(line: dict) -> bool:
            return line.get("user") == user and line.get("state") == state

        try:
            # The log tells sooner than a command that is started again and again.
            until(lambda: any(is_so(line) for line in self.log()), f"a session of {user} {state}", seconds)
            return until(
                lambda: next((one for one in self.sessions() if one["user"] == user and one["state"] == state), None),
                f"{user}'s session is {state}", 5, 0.3,
            )  # fmt: skip
        except Failed as problem:
            states = [(one["user"], one["state"], one["end"]) for one in self.sessions()]
            raise Failed(f"{problem}; there are {states}") from None

    def show(self, session: str) -> dict:
        return json.loads(self.cli("session", "show", session, "--json").stdout)

    def decide(self, verb: str, session: str) -> float:
        """An operator approves, denies or kicks; gives the moment the command was given."""
        pressed = time.monotonic()
        self.cli("session", verb, session, "--as", "lab")
        return pressed

    def log(self) -> list[dict]:
        """What it logged, line by line."""
        lines = []
        for line in self.process.text().splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"message": line})
        return lines

    def answered(self, session: str, order: str, answer: str) -> bool:
        """Whether an order for this session was answered so."""
        return any(
            line.get("session") == session and line.get("order") == order and line.get("answer") == answer
            for line in self.log()
        )

    def accepted(self, session: str) -> float:
        """When its Access-Accept went out, by the server's clock."""
        return self._when(lambda line: line.get("session") == session and line.get("outcome") == "accepted", "accepted")

    def became(self, session: str, state: str) -> float:
        """When the session came into this state, by the server's clock."""
        return self._when(lambda line: line.get("session") == session and line.get("state") == state, state)

    def _when(self, so, what: str) -> float:
        line = next((line for line in self.log() if so(line)), None)
        check(line is not None, f"{self.name} never logged: {what}")
        return datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00")).timestamp()
