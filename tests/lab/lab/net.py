"""Network namespaces, and sockets inside them. Knows addresses, and no program that runs there."""

import ctypes
import os
import socket
import subprocess
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


_notes: list[str] = []


def note(what: str, begun: float) -> None:
    """Remembers what was done, when, and how long it took; for the file steps.txt of the scene."""
    _notes.append(f"{begun:10.3f} {time.monotonic() - begun:7.3f} s  {what}")


def notes() -> list[str]:
    """All that was noted since this was asked last."""
    taken, _notes[:] = list(_notes), []
    return taken


def sh(*words: str, check: bool = True, text_in: str | None = None, timeout: float = 30) -> subprocess.CompletedProcess:
    """Runs a command and gives what it said; fails with what it said."""
    begun = time.monotonic()
    ran = subprocess.run(words, input=text_in, capture_output=True, text=True, timeout=timeout)
    note(f"{' '.join(words)} -> {ran.returncode}", begun)
    if check and ran.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: exit {ran.returncode}: {ran.stderr.strip()} {ran.stdout.strip()}")
    return ran


@dataclass
class Tried:
    """One attempt to connect: `"open"`, `"refused"`, `"unreachable"`, `"silent"`, and after how many seconds."""

    outcome: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.outcome} after {self.seconds:.3f} s"


class Namespace:
    """A network namespace; `lay` makes it, or, where it is `this` machine's own, gives it a name."""

    def __init__(self, name: str, this: bool = False):
        self.name, self.this = name, this

    def run(self, *words: str, **options) -> subprocess.CompletedProcess:
        """Runs a command in it."""
        return sh("ip", "netns", "exec", self.name, *words, **options)

    def inside(self, function, *arguments):
        """Calls a function in a thread that lives in this namespace, and gives what it returns."""
        return self.begin(function, *arguments).result()

    def begin(self, function, *arguments) -> Future:
        """The same without waiting. A socket stays in the namespace it was made in, whoever uses it later."""
        future: Future = Future()

        def work() -> None:
            try:
                descriptor = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
                try:
                    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), f"setns {self.name}")
                finally:
                    os.close(descriptor)
                future.set_result(function(*arguments))
            except BaseException as problem:  # handed to whoever asks for the result
                future.set_exception(problem)

        threading.Thread(target=work, daemon=True).start()
        return future

    def connect(self, address: str, port: int, timeout: float = 3.0, source: str | None = None) -> Tried:
        """Tries a TCP connection from here, from one of the addresses here if it matters."""
        return self.inside(try_connect, address, port, timeout, source)

    def set(self, name: str, value: str) -> None:
        """Sets a sysctl here."""
        self.inside(lambda: Path("/proc/sys", name.replace(".", "/")).write_text(value))

    def listens(self, port: int, protocol: str = "tcp") -> bool:
        """Whether a socket is bound to this port."""
        lines = self.inside(lambda: Path(f"/proc/thread-self/net/{protocol}").read_text()).splitlines()[1:]
        waiting = "0A" if protocol == "tcp" else "07"
        return any(f"{one[1]} {one[3]}".endswith(f":{port:04X} {waiting}") for one in map(str.split, lines))


def try_connect(address: str, port: int, timeout: float = 3.0, source: str | None = None) -> Tried:
    """Tries a TCP connection from the calling thread's namespace."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    begun = time.monotonic()
    with socket.socket(family, socket.SOCK_STREAM) as stream:
        stream.settimeout(timeout)
        try:
            if source:
                stream.bind((source, 0))
            stream.connect((address, port))
            outcome = "open"
        except TimeoutError:
            outcome = "silent"
        except ConnectionRefusedError:
            outcome = "refused"
        except OSError as problem:
            # EHOSTUNREACH, ENETUNREACH, EACCES: an ICMP error came back, or there is no route.
            outcome = f"unreachable ({problem.strerror})"
    return Tried(outcome, time.monotonic() - begun)


@dataclass
class End:
    """One end of a cable: where, the interface's name there, its addresses."""

    space: Namespace
    name: str
    addresses: list[str]


def lay(spaces: list[Namespace], cables: list[tuple[End, End]]) -> None:
    """Makes the namespaces and the cables between them. In few commands: each takes its time in a guest."""
    batch(f"netns attach {space.name} 1" if space.this else f"netns add {space.name}" for space in spaces)
    batch(
        f"link add {a.name} netns {a.space.name} type veth peer name {b.name} netns {b.space.name}" for a, b in cables
    )
    for space in spaces:
        lines = ["link set lo up"]
        for end in (end for cable in cables for end in cable if end.space is space):
            # nodad: an IPv6 address is of use at once.
            lines += [f"address add {one} dev {end.name}{' nodad' if ':' in one else ''}" for one in end.addresses]
            lines.append(f"link set {end.name} up")
        batch(lines, space)


def batch(lines, space: Namespace | None = None) -> None:
    """Several commands of `ip` in one go."""
    sh("ip", *(("-n", space.name) if space else ()), "-batch", "-", text_in="\n".join(lines) + "\n")
