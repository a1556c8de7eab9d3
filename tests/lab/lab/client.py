"""A person's computer: a PPTP client (pptp-linux and pppd) in a namespace of its own.

Knows what any client knows: the NAS's address, a name and a password.
"""

import re
import signal
import time
from pathlib import Path

from .lan import exchange, fetch, open_flow, resolve
from .net import Namespace, Tried, note, try_connect
from .process import Process, check, until

NETWORK = "10.91.0.0/24"
NETWORK6 = "2001:db8:91::/64"

# What the client's pppd is told however it dials.
PPPD = (
    "debug", "noauth", "nodefaultroute", "noproxyarp", "ipcp-accept-local", "ipcp-accept-remote", "usepeerdns", "refuse-pap",
    "refuse-eap", "refuse-chap", "refuse-mschap", "nobsdcomp", "nodeflate", "novj", "remotename", "nas", "maxfail", "1",
    # Its first Configure-Request comes before the NAS's pppd listens: ask again after one second, not three.
    "lcp-restart", "1",
)  # fmt: skip


def one_a_line(words: tuple[str, ...]) -> list[str]:
    """Options as a file has them: a value stands behind its name."""
    lines: list[str] = []
    for word in words:
        if lines and lines[-1] in ("remotename", "maxfail", "lcp-restart"):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


class Client:
    """One computer, which may dial in."""

    def __init__(self, space: Namespace, nas: str, out: Path):
        self.space, self.nas, self.out = space, nas, out
        self.dials = 0
        self.process: Process | None = None

    def dial(self, user: str, password: str = "s3cret-pass", *options: str, through: str | None = None) -> None:
        """Starts to dial in; `through` is the program that carries PPP, if not PPTP."""
        log = self._begin(user)
        carrier = through or f"pptp {self.nas} --nolaunchpppd --loglevel 0"
        words = [
            "pppd", "nodetach", "logfd", "1", "mtu", "1400", "mru", "1400", "user", user, "password", password, *PPPD,
            *(() if through else ("require-mppe-128",)), *options, "pty", carrier,
        ]  # fmt: skip
        self._start(words, log)

    def dial_words(self, user: str, words: list[str]) -> None:
        """Dials in by a command of one's own."""
        log = self._begin(user)
        self._start(words, log)

    def dial_l2tp(self, user: str, password: str = "s3cret-pass") -> None:
        """The same by L2TP: xl2tpd starts pppd."""
        log = self._begin(user)
        options = self.out / f"{self.space.name}-{self.dials}.options"
        options.write_text("\n".join(("mtu 1280", "mru 1280", f"logfile {log}", f"user {user}", f"password {password}", *one_a_line(PPPD))) + "\n")
        conf = self.out / f"{self.space.name}-{self.dials}.xl2tpd"
        conf.write_text(
            f"[global]\nport = 1701\naccess control = no\n[lac nas]\nlns = {self.nas}\nautodial = yes\nrequire authentication = no\n"
            f"length bit = yes\npppoptfile = {options}\n"
        )
        # Its end is pppd's end, as it is where pppd runs the tunnel.
        watched = (
            f"xl2tpd -D -c {conf} -p /run/xl2tpd.pid -C /run/xl2tpd.control & tunnel=$!; trap 'kill $tunnel' TERM; "
            "until [ -e /run/ppp0.pid ] || ! kill -0 $tunnel; do sleep 0.2; done; "
            "while [ -e /run/ppp0.pid ] && kill -0 $(cat /run/ppp0.pid); do sleep 0.2; done; kill $tunnel; wait $tunnel"
        )
        self._start(["sh", "-c", watched], log)

    def _begin(self, user: str) -> Path:
        self.dials += 1
        self.user = user
        return self.out / f"{self.space.name}-{self.dials}-{user.replace(chr(92), '-')}.log"

    def _start(self, words: list[str], log: Path) -> None:
        # Its own /run and /etc/ppp: both ends of a lab are one machine, and the NAS's hooks and pid files are not its.
        private = "mount -t tmpfs tmpfs /run && mkdir -p /run/lock && mount -t tmpfs tmpfs /etc/ppp && touch /etc/ppp/options && exec \"$@\""
        self.begun = time.monotonic()
        self.process = Process(["ip", "netns", "exec", self.space.name, "sh", "-c", private, "client", *words], log)

    def up(self, seconds: float = 30.0) -> str:
        """Waits until IP runs over the link, and routes what is inside through it; gives the own address."""
        text = self.process.says("remote IP address", seconds)
        self.address = re.search(r"local +IP address ([0-9.]+)", text).group(1)
        self.interface = re.search(r"Using interface (\S+)", text).group(1)
        note(f"{self.space.name}: {self.user} dials, link up", self.begun)
        until(
            lambda: self.space.run("ip", "route", "replace", NETWORK, "dev", self.interface, check=False).returncode == 0,
            "a route through the link", 5,
        )  # fmt: skip
        return self.address

    def login(self, user: str, password: str = "s3cret-pass", *options: str, through: str | None = None) -> str:
        """Dials in and waits for the link; gives the own address."""
        self.dial(user, password, *options, through=through)
        return self.up()

    def refused(self, seconds: float = 30.0) -> str:
        """Waits until the login has failed; gives all the client's pppd said."""
        self.process.ends(seconds)
        text = self.process.text()
        check("remote IP address" not in text, f"{self.user} should not have got in")
        return text

    def hang_up(self) -> None:
        """Ends the link as a person does; waits for the end."""
        self.process.signal(signal.SIGTERM)
        self.process.ends()

    def terminated(self, seconds: float) -> str:
        """Waits until the other side has ended the link in the protocol's own way; gives what pppd said."""
        self.process.ends(seconds)
        text = self.process.text()
        check("rcvd [LCP TermReq" in text, f"the client saw no LCP Terminate-Request: {text[-400:]}")
        return text

    def connect(self, address: str, port: int, timeout: float = 3.0) -> Tried:
        return self.space.connect(address, port, timeout)

    def exchange(self, address: str, up: int, down: int) -> None:
        self.space.inside(exchange, address, up, down)

    def open_flow(self, address: str):
        return self.space.inside(open_flow, address)

    def fetch(self, address: str) -> str:
        return self.space.inside(fetch, address)

    def resolves(self, server: str) -> bool:
        return self.space.inside(resolve, server)

    def first_through(self, address: str, port: int, seconds: float = 10.0) -> float:
        """Tries to connect again and again; gives the moment it first worked."""

        def work() -> float:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if try_connect(address, port, 0.5).outcome == "open":
                    return time.monotonic()
                time.sleep(0.01)
            return float("inf")

        return self.space.begin(work)
