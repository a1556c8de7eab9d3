"""The NAS: the operator's own files from pppd/, pptpd, pppd and `radhold agent` in the namespace `nas`.

Knows which files and programs a NAS has; nothing of the server but its address and secret.
"""

import os
import re
import shutil
import signal
from pathlib import Path

from .aaa import ADDRESS as SERVER
from .aaa import SECRET
from .net import Namespace, sh
from .process import Process, until

ADDRESS = "10.92.0.1"
POOL = "10.99.0."


class Nas:
    """A NAS that stands until the scene is over."""

    def __init__(self, space: Namespace, radhold: Path, repo: Path, out: Path, servers: tuple[str, ...] = (SERVER,)):
        self.space, self.radhold, self.repo, self.out, self.servers = space, radhold, repo, out, servers
        self.pptpd: Process | None = None
        self.agent: Process | None = None

    def install(self) -> None:
        """Copies the operator's files, and fills in what every operator must: servers and secrets."""
        files = self.repo / "pppd" / "files" / "etc"
        shutil.copytree(files, "/etc", dirs_exist_ok=True, copy_function=shutil.copy)
        for hook in Path("/etc/ppp").glob("*/radhold"):
            hook.chmod(0o755)
        modules = Path("/etc/modules-load.d/radhold-nas.conf").read_text().splitlines()
        sh("modprobe", "-a", *(line for line in modules if line and not line.startswith("#")))
        Path("/etc/ppp/options").write_text("asyncmap 0\nhide-password\n")
        edit(Path("/etc/radiusclient/radiusclient.conf"), {
            "authserver": f"{SERVER}:1812", "acctserver": f"{SERVER}:1813",
        })
        Path("/etc/radiusclient/servers").write_text(f"{SERVER} {SECRET}\n")
        options = Path("/etc/ppp/radhold-pptp.options")
        options.write_text(options.read_text() + f"\ndebug\nlogfile {self.out}/nas-pppd.log\n")

    def start(self) -> None:
        self.install()
        self.start_pptpd()

    def start_pptpd(self) -> None:
        self.pptpd = Process(
            ["ip", "netns", "exec", self.space.name, "pptpd", "--fg", "--debug"], self.out / "pptpd.log"
        )
        until(lambda: ":1723" in self.space.run("ss", "-Hltn").stdout, "pptpd listens")

    def pppds(self) -> dict[str, int]:
        """The pppd processes of sessions, by interface."""
        found = {}
        for file in Path("/run").glob("ppp*.pid"):
            if match := re.fullmatch(r"(ppp\d+)\.pid", file.name):
                pid = int(file.read_text())
                if Path(f"/proc/{pid}").exists():
                    found[match.group(1)] = pid
        return found

    def interfaces(self) -> list[str]:
        """The ppp interfaces there are."""
        said = self.space.run("ip", "-o", "link").stdout
        return re.findall(r"\b(ppp\d+):", said)

    def radattr(self, interface: str) -> str:
        return Path(f"/run/radattr.{interface}").read_text(errors="replace")

    def pppd_log(self) -> str:
        file = self.out / "nas-pppd.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def crash(self) -> None:
        """Every pppd and pptpd is gone without a word, as after a reboot."""
        for pid in self.pppds().values():
            os.kill(pid, signal.SIGKILL)
        self.pptpd.kill()

    def stop(self) -> None:
        for process in (self.pptpd, self.agent):
            if process:
                process.stop()
        for pid in self.pppds().values():
            os.kill(pid, signal.SIGKILL)


def edit(file: Path, changes: dict[str, str]) -> None:
    """Changes the values of "key value" lines that are there."""
    text = file.read_text()
    for key, value in changes.items():
        text, many = re.subn(rf"(?m)^{re.escape(key)}\s.*$", f"{key} {value}", text)
        if many != 1:
            raise RuntimeError(f"{file} has {many} lines of {key}")
    file.write_text(text)
