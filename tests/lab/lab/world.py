"""The stage of one scene: clients – NAS – server and inside hosts, everything fresh, taken away at its end.

    client1, client2 ── nas ── aaa (server)
                         └──── lan (inside host, DNS, portal)
"""

import shutil
import signal
import struct
from pathlib import Path

from .aaa import Aaa
from .client import Client
from .lan import DNS, INSIDE, INSIDE6, PORTAL, PORTAL6, Lan
from .nas import ADDRESS as NAS
from .nas import FRONT, SECOND_SERVER, SECRET, SERVER, Nas
from .net import End, Namespace, batch, lay, notes, sh
from .process import Process, until


class World:
    """Made at the start of a scene. What is in `out` stays. `files`: what install.sh made for a NAS; `logins`: how many the scene
    plays that takes the time of many; `one_host`: NAS and server are this very machine, which systemd runs, in its own namespace."""

    def __init__(self, repo: Path, radhold: Path, out: Path, files: Path, logins: int, keep: bool, one_host: bool):
        self.repo, self.radhold, self.out, self.files, self.logins, self.keep = repo, radhold, out, files, logins, keep
        self.one_host = one_host
        self.figures: dict[str, str] = {}
        self.captures: list[Process] = []
        self.servers: list[Aaa] = []
        self.clients: list[Client] = []
        self.nas: Nas | None = None
        self.lan: Lan | None = None

    def __enter__(self) -> "World":
        self.out.mkdir(parents=True, exist_ok=True)
        # In memory: what a scene writes and nobody wants afterwards.
        self.state = Path("/tmp/lab-state")
        shutil.rmtree(self.state, ignore_errors=True)
        try:
            self._build()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _build(self) -> None:
        self.spaces = {name: Namespace(name) for name in ("nas", "lan", "client1", "client2")}
        nas, lan, *clients = self.spaces.values()
        inside = [f"{INSIDE}/24", f"{DNS}/24", f"{PORTAL}/24", f"{INSIDE6}/64", f"{PORTAL6}/64"]
        cables = [(End(nas, "lan0", ["10.91.0.1/24", "2001:db8:91::1/64"]), End(lan, "nas0", inside))]
        if self.one_host:
            nas.this = True
            self.spaces["aaa"] = nas
        else:
            self.spaces["aaa"] = aaa = Namespace("aaa")
            cables.append((End(nas, "aaa0", [f"{NAS}/24"]), End(aaa, "nas0", [f"{SERVER}/24", f"{SECOND_SERVER}/24"])))
        for number, client in enumerate(clients, 1):
            outer = f"{'192.0.' if self.one_host else '10.90.'}{number + self.one_host}.1"
            there = outer.removesuffix("1") + "2"
            cables.append((End(nas, f"wan{number}", [f"{outer}/24"]), End(client, "nas0", [f"{there}/24"])))
            self.clients.append(Client(client, outer, self.out))
        lay(list(dict.fromkeys(self.spaces.values())), cables)
        if not self.one_host:
            # There the operator does it.
            nas.set("net.ipv4.ip_forward", "1")
            nas.set("net.ipv6.conf.all.forwarding", "1")
        batch(["route add 10.98.0.0/15 via 10.91.0.1", "route add default via 2001:db8:91::1"], lan)
        self.lan = Lan(lan)
        self.capture("radius", self.spaces["aaa"].name, "any", "udp port 1812 or udp port 1813 or udp port 3799")

    def __exit__(self, kind, problem, trace) -> None:
        for client in self.clients:
            if client.process:
                client.process.stop()
        if self.nas:
            self.nas.stop()
        for server in self.servers:
            if server.process:
                server.process.stop()
        for capture in self.captures:
            capture.signal(signal.SIGINT) if capture.running() else None
            capture.stop()
        if self.lan:
            self.lan.close()
        sh("ip", "-all", "netns", "delete", check=False)
        (self.out / "steps.txt").write_text("\n".join(notes()) + "\n")
        if self.keep and self.state.exists():
            shutil.copytree(self.state, self.out / "state", dirs_exist_ok=True)

    def capture(self, name: str, space: str, interface: str, what: str) -> None:
        """Records packets from now on into NAME.pcap."""
        file = self.out / f"{name}.pcap"
        # --immediate-mode: without it the last packets are not yet there when a scene is short.
        words = ["tcpdump", "--immediate-mode", "-U", "-n", "-Z", "root", "-i", interface, "-w", str(file), *what.split()]
        process = Process(["ip", "netns", "exec", space, *words], self.out / f"{name}.tcpdump.log")
        until(lambda: "listening on" in process.text(), f"tcpdump {name}")
        self.captures.append(process)

    def packets(self, name: str) -> int:
        """How many packets are in a capture."""
        octets = (self.out / f"{name}.pcap").read_bytes()
        at, many = 24, 0
        while at + 16 <= len(octets):
            at += 16 + struct.unpack("<I", octets[at + 8 : at + 12])[0]
            many += 1
        return many

    def server(self, window: str = "120s", address: str = SERVER, signed: bool = False, hold: str = "") -> Aaa:
        """Starts a server that knows the NAS. Not `signed`: pppd itself speaks to it, which cannot sign."""
        settings = f"""[hold]
window = "{window}"
approvers = ["operator"]
{hold}
[dynauth]
source = "{address}"
initial_timeout = "500ms"
[nas.lab]
address = "{NAS}"
secret = "{SECRET}"
dialect = "pppd-agent"
require_message_authenticator = {str(signed).lower()}
"""
        server = Aaa(self.spaces["aaa"], self.radhold, self.out, self.state / "store", address, settings)
        self.servers.append(server)
        server.start()
        return server

    def start_nas(self, **options) -> Nas:
        """Starts the NAS."""
        self.nas = Nas(self.spaces["nas"], self.radhold, self.repo, self.out, self.files, **options)
        self.nas.start()
        return self.nas
