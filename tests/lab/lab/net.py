"""Network namespaces, and sockets inside them. Knows addresses, and no program that runs there."""

import ctypes
import os
import socket
import subprocess
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def sh(*words: str, check: bool = True, text_in: str | None = None, timeout: float = 30) -> subprocess.CompletedProcess:
    """Runs a command and gives what it said; fails with what it said."""
    ran = subprocess.run(words, input=text_in, capture_output=True, text=True, timeout=timeout)
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
    """A network namespace, made when asked for."""

    def __init__(self, name: str):
        self.name = name
        sh("ip", "netns", "add", name)
        self.run("ip", "link", "set", "lo", "up")

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

    def connect(self, address: str, port: int, timeout: float = 3.0) -> Tried:
        """Tries a TCP connection from here."""
        return self.inside(try_connect, address, port, timeout)

    def remove(self) -> None:
        """Takes it away; its processes must have ended."""
        sh("ip", "netns", "del", self.name, check=False)


def try_connect(address: str, port: int, timeout: float = 3.0) -> Tried:
    """Tries a TCP connection from the calling thread's namespace."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    begun = time.monotonic()
    with socket.socket(family, socket.SOCK_STREAM) as stream:
        stream.settimeout(timeout)
        try:
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


def pair(a: Namespace, a_name: str, a_addresses: list[str], b: Namespace, b_name: str, b_addresses: list[str]) -> None:
    """A cable between two namespaces, with these addresses at its ends."""
    sh("ip", "link", "add", a_name, "netns", a.name, "type", "veth", "peer", "name", b_name, "netns", b.name)
    for space, name, addresses in ((a, a_name, a_addresses), (b, b_name, b_addresses)):
        for address in addresses:
            # nodad: an IPv6 address is of use at once.
            extra = ["nodad"] if ":" in address else []
            space.run("ip", "address", "add", address, "dev", name, *extra)
        space.run("ip", "link", "set", name, "up")
