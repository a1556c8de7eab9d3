"""What a scene's processor time went to, program by program: the kernel's own accounting of processes. Knows no scene."""

import ctypes
import os
import struct
import time
from collections import defaultdict
from pathlib import Path

# struct acct_v3 of linux/acct.h.
_RECORD = struct.Struct("<BBHIIIIIIf8H16s")
_HERTZ = 100
_libc = ctypes.CDLL(None, use_errno=True)


class Spent:
    """Counts from its beginning on. Where the kernel keeps no accounts, only our own time is known."""

    def __init__(self, file: Path):
        self.file = file
        file.write_bytes(b"")
        self.kept = _libc.acct(os.fsencode(file)) == 0
        self.begun, self.own, self.idle = time.monotonic(), time.process_time(), _idle()

    def text(self) -> str:
        """Seconds of processor and how many processes, the dearest program first. Ends the counting."""
        _libc.acct(None)
        total: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
        total["(the lab itself)"] = [time.process_time() - self.own, 1]
        octets = self.file.read_bytes() if self.kept else b""
        for fields in _RECORD.iter_unpack(octets[: len(octets) // _RECORD.size * _RECORD.size]):
            program = total[fields[-1].split(b"\0")[0].decode(errors="replace")]
            program[0] += (_expand(fields[10]) + _expand(fields[11])) / _HERTZ
            program[1] += 1
        elapsed = time.monotonic() - self.begun
        lines = [f"{elapsed:8.2f} s passed", f"{elapsed - (_idle() - self.idle):8.2f} s of them not idle; processes had"]
        for name, (seconds, many) in sorted(total.items(), key=lambda item: -item[1][0]):
            lines.append(f"{seconds:8.2f} s {many:5.0f} x {name}")
        return "\n".join(lines) + "\n"


def _idle() -> float:
    """Seconds for which there was nothing to do, of all processors."""
    return float(Path("/proc/uptime").read_text().split()[1])


def _expand(packed: int) -> int:
    """comp_t: 13 bits of fraction, 3 of an exponent to the base 8."""
    return (packed & 0x1FFF) << (3 * (packed >> 13))
