"""The NAS: the operator's own files from pppd/, pptpd, pppd and `radhold agent` in the namespace `nas`.

Knows which files and programs a NAS has; nothing of the server but its address and secret.
"""

import os
import re
import shutil
import signal
import uuid
from pathlib import Path

from .lan import DNS, PORTAL
from .net import Namespace, sh
from .process import Process, check, until

ADDRESS = "10.92.0.1"
SERVER = "10.92.0.2"
SECOND_SERVER = "10.92.0.3"
# The user of the agent's unit.
USER, UID = "radhold-agent", 64123
SECRET = "lab-shared-secret-of-32-octets-0"
# Whether pppd asks the agent's front unless a scene wants otherwise.
FRONT = True
AGENT_TOML = Path("/etc/radhold/agent.toml")
OPTIONS = Path("/etc/ppp/lab.options")
DIRECT = Path("/etc/radiusclient/lab-direct.conf")
HOOKS = ("ip-pre-up", "ip-up", "ip-down", "ipv6-up", "ipv6-down")
CAPABILITIES = "-all,+net_admin,+kill"


class Nas:
    """A NAS that stands until the scene is over.

    `front`: pppd asks the agent's front, as operators should; else the server itself. `servers`: whom the front asks, in order.
    `agent`: more lines of the section [agent].
    """

    def __init__(
        self, space: Namespace, radhold: Path, repo: Path, out: Path, files: Path,
        front: bool = FRONT, servers: tuple[str, ...] = (SERVER,), agent: str = "",
    ):  # fmt: skip
        self.space, self.radhold, self.repo, self.out, self.files = space, radhold, repo, out, files
        self.front, self.servers, self.settings = front, servers, agent
        self.pptpd: Process | None = None
        self.agent: Process | None = None
        self.other: Process | None = None

    def start(self) -> None:
        """Files, rules, agent, pptpd: in the order of the units."""
        self._install()
        self._configure()
        self.space.run("nft", "-f", "/etc/radhold/nas.nft")
        self.start_agent()
        self.start_pptpd()

    def _install(self) -> None:
        """What an operator does once: the files that install.sh made, the unit's user, the modules of modules-load.d."""
        binary = Path("/usr/local/bin/radhold")
        if binary.is_symlink() and os.readlink(binary) == str(self.radhold):
            return
        shutil.copytree(self.files, "/", dirs_exist_ok=True)
        for file, line in (("group", f"{USER}:x:{UID}:"), ("passwd", f"{USER}:x:{UID}:{UID}::/:/usr/sbin/nologin")):
            with Path("/etc", file).open("a") as table:
                table.write(line + "\n")
        modules = Path("/etc/modules-load.d/radhold-nas.conf").read_text().splitlines()
        sh("modprobe", "-a", *(line for line in modules if line and not line.startswith("#")))
        # pppd's own defaults of the package: as Debian ships them but for "crtscts" and "modem", which a pty has not.
        Path("/etc/ppp/options").write_text("asyncmap 0\nhide-password\n")
        binary.unlink(missing_ok=True)
        binary.symlink_to(self.radhold)

    def _configure(self) -> None:
        """What differs from scene to scene."""
        unit = Path("/etc/systemd/system/radhold-agent.service").read_text()
        self._runtime = Path("/run", re.search(r"(?m)^RuntimeDirectory=(.+)$", unit).group(1))
        self._state = Path("/var/lib", re.search(r"(?m)^StateDirectory=(.+)$", unit).group(1))
        self.write_agent_toml()
        os.chown("/etc/radhold/front.secret", 0, UID)
        options = f"file /etc/ppp/radhold-pptp.options\ndebug\nlogfile {self.out}/nas-pppd.log\n"
        if not self.front:
            conf = Path("/etc/radiusclient/radiusclient.conf").read_text()
            conf = re.sub(r"(?m)^(auth|acct)server .*:", rf"\1server {SERVER}:", conf)
            conf = re.sub(r"(?m)^servers .*$", "servers /etc/radiusclient/lab-servers", conf)
            DIRECT.write_text(conf)
            Path("/etc/radiusclient/lab-servers").write_text(f"{SERVER} {SECRET}\n")
            options += f"radius-config-file {DIRECT}\n"
        OPTIONS.write_text(options)
        # What pppd tells its scripts, for a look afterwards; and when the scripts began and ended, to a hundredth of a second.
        hook = Path("/etc/ppp/ip-up.d/zz-lab")
        hook.write_text(f"#!/bin/sh\nenv | sort >'{self.out}/ip-up-'$IFNAME-$PEERNAME.env\n")
        hook.chmod(0o755)
        for event in HOOKS:
            for name in ("00-lab", "zzz-lab"):
                clock = Path(f"/etc/ppp/{event}.d/{name}")
                clock.write_text(f"#!/bin/sh\nread -r up idle </proc/uptime && echo {event} {name} $PPPD_PID $up >>'{self.out}/hooks.txt'\n")
                clock.chmod(0o755)
        # A new NAS has no old state.
        for directory in (self._runtime, self._state):
            make_anew(directory)

    def write_agent_toml(self) -> None:
        """The agent's file, from these settings."""
        secret = Path("/etc/radhold/lab.secret")
        write(secret, SECRET + "\n")
        servers = "".join(
            f'[agent.front.server.{number}]\naddress = "{address}"\nsecret_file = "{secret}"\n'
            for number, address in enumerate(self.servers, 1)
        )
        peers = "".join(
            f'[agent.peer.radhold-{number}]\naddress = "{address}"\nsecret_file = "{secret}"\n'
            for number, address in enumerate((SERVER, SECOND_SERVER), 1)
        )
        front = f'[agent.front]\nsecret_file = "front.secret"\nnas_identifier = "nas-1"\n{servers}' if self.front else ""
        text = f"""[agent]
listen = ["{ADDRESS}:3799"]
resolvers = ["{DNS}"]
portal = "{PORTAL}:80"
{self.settings}
{peers}
{front}
"""
        write(AGENT_TOML, text)

    def start_agent(self) -> None:
        """Starts the agent, or starts it again, with the rights of its unit and no more; returns when it is ready."""
        log = self.out / "agent.log"
        before = len(log.read_text()) if log.exists() else 0
        rights = [
            "setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", "--no-new-privs",
            "--inh-caps", CAPABILITIES, "--ambient-caps", CAPABILITIES, "--bounding-set", CAPABILITIES,
        ]  # fmt: skip
        self.agent = Process(
            ["ip", "netns", "exec", self.space.name, *rights, "/usr/local/bin/radhold", "agent", "--config", str(AGENT_TOML)],
            log,
            {"STATE_DIRECTORY": str(self._state), "RUNTIME_DIRECTORY": str(self._runtime), "HOME": "/"},
        )
        self.agent.says("the agent is ready", after=before)

    def start_pptpd(self) -> None:
        self.pptpd = Process(
            ["ip", "netns", "exec", self.space.name, "pptpd", "--fg", "--debug", "--option", str(OPTIONS)],
            self.out / "pptpd.log",
        )
        until(lambda: self.space.listens(1723), "pptpd listens")

    def answer_with(self, name: str, answer) -> None:
        """Another way in beside pptpd: a program that `answer` starts, given the namespace's name."""
        own = {
            "line": "radhold.options\nnomppe\nnoccp\nmtu 1400\nmru 1400",
            "pppoe": "radhold-pppoe.options", "l2tp": "radhold-l2tp.options",
        }[name]  # fmt: skip
        Path(f"/etc/ppp/lab-{name}.options").write_text(
            f"file /etc/ppp/{own}\ndebug\nlogfile {self.out}/nas-pppd.log\n"
        )
        self.other = answer(self.space.name)

    def hook_seconds(self) -> dict[str, list[float]]:
        """How long pppd's scripts have taken so far, by event: the agent's hook is all that runs between the two clocks, but for
        a look at ip-up's environment. Those that have not ended are not among them."""
        begun: dict[tuple[str, str], float] = {}
        taken: dict[str, list[float]] = {event: [] for event in HOOKS}
        for line in (self.out / "hooks.txt").read_text().splitlines():
            event, name, pid, up = line.split()
            if name == "00-lab":
                begun[event, pid] = float(up)
            else:
                taken[event].append(float(up) - begun.pop((event, pid)))
        return taken

    def accounting_patience(self) -> int:
        """How many seconds pppd waits for an answer."""
        conf = Path("/etc/radiusclient/radiusclient.conf").read_text()
        timeout, retries = (int(re.search(rf"(?m)^{key} +(\d+)$", conf).group(1)) for key in ("radius_timeout", "radius_retries"))
        return timeout * retries

    def tell_agent(self, *words: str) -> str:
        """An operator's word to the agent: status, ban, unban; gives what it answers."""
        return self.space.run("/usr/local/bin/radhold", "agent", *words, "--config", str(AGENT_TOML)).stdout

    def pppds(self) -> dict[str, int]:
        """The pppd processes of sessions, by interface."""
        found = {}
        for file in Path("/run").glob("ppp*.pid"):
            if match := re.fullmatch(r"(ppp\d+)\.pid", file.name):
                pid = int(file.read_text())
                if Path(f"/proc/{pid}").exists():
                    found[match.group(1)] = pid
        return found

    def limits(self, interface: str) -> tuple[str, str]:
        """What tc shows of an interface: towards the user, and from the user."""
        towards = self.space.run("tc", "qdisc", "show", "dev", interface).stdout
        from_user = self.space.run("tc", "filter", "show", "dev", interface, "ingress").stdout
        # The kernel numbers actions as they come: one that replaced another has the number that was free.
        return towards, re.sub(r"police 0x[0-9a-f]+", "police", from_user)

    def routes(self) -> str:
        """The routes the agent made, both families."""
        return "".join(self.space.run("ip", family, "route", "show", "proto", "114").stdout for family in ("-4", "-6"))

    def interfaces(self) -> list[str]:
        """The ppp interfaces there are."""
        return re.findall(r"\b(ppp\d+):", self.space.run("ip", "-o", "link").stdout)

    def radattr(self, interface: str) -> str:
        """The attributes of the Access-Accept, as pppd read them."""
        return Path(f"/run/radattr.{interface}").read_text(errors="replace")

    def pppd_log(self) -> str:
        file = self.out / "nas-pppd.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def crash(self) -> None:
        """Every pppd and pptpd, and the agent, is gone without a word, and with them interfaces, rules, flows and all of /run that
        is theirs; what is on the disk is of another boot: a power cut."""
        for pid in self.pppds().values():
            os.kill(pid, signal.SIGKILL)
        self.pptpd.kill()
        self.agent.kill()
        self.space.run("nft", "flush", "ruleset")
        until(lambda: not self.interfaces(), "the interfaces go with their pppd")
        self.space.run("conntrack", "-F")
        for file in (*Path("/run").glob("ppp*.pid"), *Path("/run").glob("radattr.*")):
            file.unlink(missing_ok=True)
        make_anew(self._runtime)
        state = self._state / "agent.json"
        head, lines = state.read_text().split("\n", 1)
        this_boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        check(this_boot in head and '"session":{' in lines, f"the state is of this boot, and knows a session: {head}")
        state.write_text(head.replace(this_boot, str(uuid.uuid4())) + "\n" + lines)

    def stop(self) -> None:
        """Takes it away at the end of the scene, politeness spared."""
        if self.agent:
            (self.out / "nft.txt").write_text(self.space.run("nft", "list", "ruleset", check=False).stdout)
        for process in (self.pptpd, self.other):
            if process:
                process.stop()
        for pid in self.pppds().values():
            os.kill(pid, signal.SIGKILL)
        if self.agent:
            self.agent.stop()
        for file in (*Path("/run").glob("ppp*.pid"), *Path("/run").glob("radattr.*")):
            file.unlink(missing_ok=True)


def make_anew(directory: Path) -> None:
    """As systemd makes it for the unit, with nothing in it."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o750)
    os.chown(directory, UID, UID)


def write(file: Path, text: str) -> None:
    """A file that root and the agent may read."""
    file.write_text(text)
    file.chmod(0o640)
    os.chown(file, 0, UID)
