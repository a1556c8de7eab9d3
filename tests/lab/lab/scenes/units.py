"""The units under a real systemd, installed as pppd/README.md says: the walk of a person with a Debian, all on one host."""

import os
import pty
import re
import shlex
import subprocess
import time
from pathlib import Path

from ..aaa import Aaa
from ..lan import DNS, INSIDE, PORTAL, echoes
from ..net import note, sh
from ..process import Failed, check, until
from ..readme import Readme
from ..world import World
from .register import scene
from .steps import approve, confined, let_through

PASSWORD = "s3cret-pass"
UNITS = ("radhold.service", "radhold-agent.service")


class Operator:
    """Root at a shell, in the folder of the sources; types what the page says."""

    def __init__(self, world: World):
        self.world = world
        self.readme = Readme(world.repo / "pppd/README.md")
        self.secret = ""
        toml = self.readme.block("All on one host", "toml")
        server, agent = re.split(r"(?m)^# /etc/radhold/.*\n", toml)[1:]
        # What is not typed as it stands, by how the line begins: what is typed in its place, and what a person answers or pastes.
        # Else every question is answered with yes.
        binary = str(world.radhold)
        self.otherwise = {
            # The packages are there, and a guest has no network: that they are called so is seen all the same.
            "apt install": (lambda line: line.replace("apt install", "apt-get install --simulate"), None),
            "cargo build": (lambda _: ":", None),
            "./pppd/install.sh": (lambda line: line.replace("target/release/radhold", binary), "y\n" * 50),
            "(umask 027; cat >/etc/radhold/radhold.toml)": (None, server),
            "(umask 027; cat >/etc/radhold/server-1.secret)": (None, lambda: self.secret + "\n"),
            "editor /etc/radhold/agent.toml": (lambda _: ":", lambda: self.edit(agent)),
        }

    def edit(self, more: str) -> str:
        """The file as a person edits it: what the page shows, and the two lines of what this sandbox may reach."""
        file = Path("/etc/radhold/agent.toml")
        text = re.sub(r"(?m)^#resolvers = .*", f'resolvers = ["{DNS}"]', file.read_text())
        text = re.sub(r"(?m)^#portal = .*", f'portal = "{PORTAL}:80"', text)
        file.write_text(f"{text}\n{more}")
        return ""

    def types(self, title: str) -> None:
        """Types the commands below this title, one by one; each must do."""
        for line in self.readme.commands(title):
            change, given = next((two for start, two in self.otherwise.items() if line.startswith(start)), (None, ""))
            command = change(line) if change else line
            if "radhold user add" in command:
                said = on_terminal(command, self.world.repo, PASSWORD, 2)
            else:
                said = shell(command, self.world.repo, given() if callable(given) else given or "")
            with (self.world.out / "typed.txt").open("a") as typed:
                typed.write(f"# {command}\n{said}\n")
            if "--generate-secret" in command:
                self.secret = re.search(r"(?m)\b[0-9A-Za-z+/_-]{16,}\b=*$", said).group(0)


def shell(line: str, where: Path, text_in: str) -> str:
    """Runs one line of a shell; gives what it said. Fails when it fails."""
    begun = time.monotonic()
    ran = subprocess.run(
        ["bash", "-c", line], cwd=where, input=text_in, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120
    )
    note(f"{line} -> {ran.returncode}", begun)
    if ran.returncode != 0:
        why = sh("journalctl", "-b", "--no-pager", "-n", "30", "-o", "cat", check=False).stdout
        raise Failed(f"{line}: exit {ran.returncode}: {ran.stdout[-1500:]}\n{why}")
    return ran.stdout


def on_terminal(line: str, where: Path, answer: str, times: int) -> str:
    """The same at a terminal, whose questions (they end with ": ") are answered."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(where)
        os.execvp("bash", ["bash", "-c", line])
    said, answered = "", 0
    while True:
        try:
            octets = os.read(terminal, 4096)
        except OSError:
            octets = b""
        if not octets:
            break
        said += octets.decode(errors="replace")
        if said.endswith(": ") and answered < times:
            os.write(terminal, f"{answer}\n".encode())
            answered += 1
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    check(code == 0 and answered == times, f"{line}: exit {code}, {answered} questions: {said}")
    return said


class UnitServer(Aaa):
    """The server as its unit runs it: its commands as its user, its log in the journal."""

    def __init__(self, world: World):
        self.space, self.radhold, self.out = world.spaces["nas"], Path("/usr/local/bin/radhold"), world.out
        self.name, self.process = "radhold", None

    def cli(self, *words: str, text_in: str | None = None, check: bool = True):
        return sh("runuser", "-u", "radhold", "--", "radhold", *words, text_in=text_in, check=check)

    def session(self, user: str, state: str, seconds: float = 20.0) -> dict:
        return until(
            lambda: next((one for one in self.sessions(user) if one["state"] == state), None), f"{user}'s session is {state}", seconds, 0.3
        )


def show(unit: str, *names: str) -> dict[str, str]:
    """Properties of a unit as systemd has them."""
    lines = sh("systemctl", "show", unit, *(word for name in names for word in ("-p", name))).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


def service_lines(unit: str) -> list[tuple[str, str]]:
    """The section [Service] of a unit's file."""
    section = Path("/etc/systemd/system", unit).read_text().split("[Service]\n")[1].split("\n[")[0]
    return [tuple(line.split("=", 1)) for line in section.splitlines() if line and not line.startswith("#")]


def sandboxed_as_written(unit: str, capabilities: set[int], user_namespace: bool) -> None:
    """What the unit's file says is what systemd has, and what the kernel says of the process."""
    plain = re.compile(r"yes|strict|invisible|pid|default|notify|\d{4}")
    written = {name: value for name, value in service_lines(unit) if plain.fullmatch(value)}
    check(len(written) >= 15, f"{unit}: {written}")
    has = show(unit, *written)
    different = {name: (value, has.get(name)) for name, value in written.items() if has.get(name) != value}
    check(not different, f"{unit}, written and shown: {different}")
    pid = show(unit, "MainPID")["MainPID"]
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    mask = f"{sum(1 << one for one in capabilities):016x}"
    for name, value in (("CapEff", mask), ("CapPrm", mask), ("CapBnd", mask), ("NoNewPrivs", "1"), ("Seccomp", "2")):
        check(status[name].strip() == value, f"{unit}: {name} {status[name]}, not {value}")
    check(status["Uid"].split()[0] != "0" and status["Gid"].split()[0] != "0", f"{unit}: {status['Uid']} {status['Gid']}")
    of = {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in ("mnt", "uts", "user")}
    ours = {name: os.readlink(f"/proc/self/ns/{name}") for name in of}
    check(of["mnt"] != ours["mnt"] and of["uts"] != ours["uts"], f"{unit}: namespaces {of}, ours {ours}")
    check((of["user"] != ours["user"]) == user_namespace, f"{unit}: namespaces {of}, ours {ours}")
    # And tried, in its own view of the file system: read-only but for its state even to root, homes shut, no device but the harmless.
    user = ("setpriv", "--reuid", unit.removesuffix(".service"), "--clear-groups")
    for who, what, refusal in (
        ((), "touch /etc/radhold/x", "Read-only file system"),
        ((), "touch /usr/local/bin/x", "Read-only file system"),
        ((), "touch /sys/fs/cgroup/x", "Read-only file system"),
        ((), "ls /dev/mem", "No such file"),
        (user, "ls /root/.", "Permission denied"),
    ):
        tried = sh("nsenter", "-t", pid, "-m", *who, *what.split(), check=False)
        check(tried.returncode != 0 and refusal in tried.stderr, f"{unit}: {what}: {tried.stderr or 'it is done'}")


def refused_calls() -> list[str]:
    """System calls that filters of units have refused, as the kernel says it. Not clone3 (435): where namespaces are restricted
    systemd says there is no such call, since what it is asked for lies in memory, and glibc asks clone instead."""
    said = sh("journalctl", "-b", "--no-pager", "-o", "cat", "_TRANSPORT=audit").stdout
    return [line for line in said.splitlines() if "SECCOMP" in line and "syscall=435 " not in line]


@scene(
    "14", "units of a real systemd", 70,
    "from a Debian without radhold, the commands of pppd/README.md as they stand, all on one host: both units run under a real systemd, sandboxed as their files say, without a refused system call; a login is held and let through; a restart of agent, server or nftables ends no tunnel; stopping pptpd ends sessions with their Accounting-Stop",
    init="systemd",
)  # fmt: skip
def units(world: World) -> None:
    operator = Operator(world)
    try:
        walk(world, operator)
    finally:
        journal = sh("journalctl", "-b", "--no-pager", "-o", "short-monotonic", check=False).stdout
        (world.out / "journal.txt").write_text(journal)
        sh("systemctl", "stop", "pptpd", *UNITS, check=False)


def walk(world: World, operator: Operator) -> None:
    begun = time.monotonic()
    operator.types("1. Packages, and radhold.")
    operator.types("2. The files.")
    operator.types("All on one host")
    operator.types("4. The agent.")
    world.figures["the commands of the README took"] = f"{time.monotonic() - begun:.0f} s"
    for unit in (*UNITS, "pptpd.service"):
        has = show(unit, "ActiveState", "UnitFileState", "NRestarts")
        check((has["ActiveState"], has["NRestarts"]) == ("active", "0"), f"{unit}: {has}")
        check(has["UnitFileState"] == "enabled", f"{unit} would be there after a boot: {has}")
    sandboxed_as_written("radhold.service", set(), True)
    # CAP_KILL, CAP_NET_ADMIN.
    sandboxed_as_written("radhold-agent.service", {5, 12}, False)

    server, client = UnitServer(world), world.clients[0]
    (dial,) = operator.readme.commands("5. Dial in")
    words = [PASSWORD if word == "…" else word for word in shlex.split(dial)]
    check(words[:2] == ["pppd", "pty"] and client.nas in words[2], f"it dials {client.nas}: {words}")
    client.dial_words("alice", [*words, "debug", "logfd", "1"])
    client.up(60)
    held = server.session("alice", "held")
    confined(client)
    approve(world, server, client, held)
    flow = client.open_flow(INSIDE)
    check(echoes(flow), "the flow works while permitted")

    tunnels = show("pptpd.service", "MainPID", "NRestarts")
    for what in ("radhold-agent", "radhold", "nftables"):
        sh("systemctl", "restart", what, timeout=60)
        until(lambda: echoes(flow), f"the flow goes on after a restart of {what}", 10)
        let_through(client)
    check(show("pptpd.service", "MainPID", "NRestarts") == tunnels, "pptpd is the same")
    rules = sh("nft", "list", "ruleset").stdout
    check("table inet radhold {" in rules and "masquerade" in rules, f"sandbox and translation are back: {rules[:500]}")
    check(server.session("alice", "permitted")["id"] == held["id"], "the same session")
    for unit in UNITS:
        has = show(unit, "Result", "ExecMainStatus", "NRestarts")
        check((has["Result"], has["ExecMainStatus"], has["NRestarts"]) == ("success", "0", "0"), f"{unit}: {has}")

    findings = sh("radhold", "doctor", check=False).stdout
    (world.out / "doctor.txt").write_text(findings)
    failed = [line for line in findings.splitlines() if line.startswith("fail")]
    check("ok    nas.sandbox" in findings and not failed, f"radhold doctor: {failed} of {findings}")

    sh("systemctl", "stop", "pptpd", timeout=60)
    # systemd tells all of pptpd's processes at once, so the line breaks before PPP has said goodbye; accounting is told all the same.
    client.process.ends(20)
    closed = server.session("alice", "closed")
    check(closed["id"] == held["id"] and closed["end"]["cause"] == "stop", f"it ended with its Accounting-Stop: {closed['end']}")
    refused = refused_calls()
    check(not refused, f"system calls that the units' filters refused: {refused}")
    # And one that is refused would have been seen.
    filters = [f"--property={name}={value}" for name, value in service_lines(UNITS[0]) if name.startswith("SystemCall")]
    sh("systemd-run", "--quiet", "--service-type=oneshot", *filters, "chown", "root", "/run", check=False)
    until(refused_calls, "the kernel's log has a call that was refused", 5)
