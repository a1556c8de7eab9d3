"""A line between the client's pppd and the NAS, which can put a frame of its own into it. Knows PPP's framing and IPCP's first
message, and nothing of sessions.

Run as a program, `python3 -m lab.line SOCKET FILE`, it joins its standard input and output with a Unix socket; a frame that it finds
in FILE goes out to the NAS, and the file away.
"""

import os
import select
import socket
import sys
from pathlib import Path

FLAG, ESCAPE, FLIP = 0x7E, 0x7D, 0x20


def configure_request(address: str, identifier: int = 200) -> bytes:
    """An IPCP Configure-Request for this address (RFC 1332 §3), and for both WINS servers (RFC 1877 §1.2, §1.4), framed as
    RFC 1662 has it."""
    options = b"".join(bytes([kind, 6]) + socket.inet_aton(value) for kind, value in ((3, address), (130, "0.0.0.0"), (132, "0.0.0.0")))
    packet = bytes([1, identifier]) + (4 + len(options)).to_bytes(2, "big") + options
    return frame(b"\xff\x03\x80\x21" + packet)


def frame(octets: bytes) -> bytes:
    """With its check sequence, escaped, between flags. Every control character is escaped: that is always understood."""
    check = 0xFFFF
    for octet in octets:
        check ^= octet
        for _ in range(8):
            check = (check >> 1) ^ (0x8408 if check & 1 else 0)
    octets += (check ^ 0xFFFF).to_bytes(2, "little")
    escaped = bytearray([FLAG])
    for octet in octets:
        escaped += bytes([ESCAPE, octet ^ FLIP]) if octet < 0x20 or octet in (FLAG, ESCAPE) else bytes([octet])
    return bytes(escaped) + bytes([FLAG])


def main(path: str, inject: Path) -> None:
    nas = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    nas.connect(path)
    while True:
        ready, _, _ = select.select([0, nas], [], [], 0.2)
        if inject.exists():
            nas.sendall(inject.read_bytes())
            inject.unlink()
        if 0 in ready:
            octets = os.read(0, 4096)
            if not octets:
                return
            nas.sendall(octets)
        if nas in ready:
            octets = nas.recv(4096)
            if not octets:
                return
            while octets:
                octets = octets[os.write(1, octets) :]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
