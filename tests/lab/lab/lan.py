"""What stands behind the NAS: an inside host, the DNS server and the portal; played by threads, counted by the octet.

Knows nothing of sessions: it answers whoever gets through.
"""

import socket
import struct
import threading
import time

from .net import Namespace

INSIDE = "10.91.0.10"
INSIDE6 = "2001:db8:91::10"
DNS = "10.91.0.53"
PORTAL = "10.91.0.80"
PORTAL6 = "2001:db8:91::80"
# Where the inside host listens, and where nobody does: 22 stands for any service a person would use.
SERVICE = 8022
WEB = 80


class Lan:
    """The services of the namespace `lan`."""

    def __init__(self, space: Namespace):
        self.space = space
        self.sockets: list[socket.socket] = []
        self.portal_seen: list[str] = []
        for address in (INSIDE, INSIDE6):
            self._listen(address, SERVICE, self._talk)
            self._listen(address, WEB, self._page(b"inside"))
        for address in (PORTAL, PORTAL6):
            self._listen(address, WEB, self._page(b"portal"))
        self._answer_dns(DNS)

    def close(self) -> None:
        for one in self.sockets:
            one.close()

    def _listen(self, address: str, port: int, serve) -> None:
        def make() -> socket.socket:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return socket.create_server((address, port), family=family, backlog=64)

        server = self.space.inside(make)
        self.sockets.append(server)

        def accept() -> None:
            while True:
                try:
                    stream, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(stream,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    @staticmethod
    def _talk(stream: socket.socket) -> None:
        """Reads "number of octets up, number down", then so many, then sends so many; then echoes until the end."""
        with stream:
            try:
                head = _exactly(stream, 8)
                up, down = struct.unpack("!II", head)
                while up > 0:
                    if not (more := stream.recv(min(up, 1 << 16))):
                        return
                    up -= len(more)
                for _ in range(down >> 16):
                    stream.sendall(bytes(1 << 16))
                stream.sendall(bytes(down & 0xFFFF))
                while octets := stream.recv(4096):
                    stream.sendall(octets)
            except OSError:
                return

    def _page(self, name: bytes):
        def serve(stream: socket.socket) -> None:
            with stream:
                try:
                    stream.recv(4096)
                    body = name + b"\n"
                    stream.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                except OSError:
                    return

        return serve

    def _answer_dns(self, address: str) -> None:
        def make() -> socket.socket:
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.bind((address, 53))
            return one

        server = self.space.inside(make)
        self.sockets.append(server)

        def work() -> None:
            while True:
                try:
                    query, peer = server.recvfrom(512)
                except OSError:
                    return
                # The question again, and one A record that points at its name: 192.0.2.1.
                answer = query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:]
                answer += b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"
                server.sendto(answer, peer)

        threading.Thread(target=work, daemon=True).start()


def _exactly(stream: socket.socket, many: int) -> bytes:
    octets = b""
    while len(octets) < many:
        more = stream.recv(many - len(octets))
        if not more:
            raise OSError("the peer has gone")
        octets += more
    return octets


def exchange(address: str, up: int, down: int, timeout: float = 20.0) -> None:
    """Sends so many octets to the inside host's service and receives so many, from the calling thread's namespace."""
    with socket.create_connection((address, SERVICE), timeout) as stream:
        stream.settimeout(timeout)
        stream.sendall(struct.pack("!II", up, down) + b"\0" * up)
        _exactly(stream, down)


def received(address: str, seconds: float) -> int:
    """How many octets come within so many seconds when as many are asked for as there are, from the calling thread's namespace."""
    return _within(address, seconds, up=0, down=1 << 28)


def sent(address: str, seconds: float) -> int:
    """How many octets arrive there within so many seconds when as many are sent as go; what waits in a buffer does not count."""
    return _within(address, seconds, up=1 << 28, down=0)


def _within(address: str, seconds: float, up: int, down: int) -> int:
    with socket.create_connection((address, SERVICE), 5) as stream:
        # Little, so that what is sent and what has arrived are nearly the same.
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)
        stream.sendall(struct.pack("!II", up, down))
        end, total, zeros = time.monotonic() + seconds, 0, b"\0" * 4096
        while (left := end - time.monotonic()) > 0:
            stream.settimeout(left)
            try:
                total += stream.send(zeros) if up else len(stream.recv(65536))
            except TimeoutError:
                break
        return total


def open_flow(address: str, timeout: float = 5.0) -> socket.socket:
    """A connection to the inside host's service that echoes, from the calling thread's namespace."""
    stream = socket.create_connection((address, SERVICE), timeout)
    stream.sendall(struct.pack("!II", 0, 0))
    return stream


def echoes(stream: socket.socket, timeout: float = 1.5) -> bool:
    """Whether the flow still carries an octet there and back."""
    stream.settimeout(timeout)
    try:
        stream.sendall(b"x")
        return stream.recv(1) == b"x"
    except OSError:
        return False


def fetch(address: str, timeout: float = 3.0) -> str:
    """The page that answers at this address on port 80, from the calling thread's namespace."""
    with socket.create_connection((address, WEB), timeout) as stream:
        stream.settimeout(timeout)
        stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
        text = b""
        while more := stream.recv(4096):
            text += more
    return text.decode(errors="replace").strip()


def resolve(server: str, timeout: float = 2.0) -> bool:
    """Whether a DNS server answers a question, from the calling thread's namespace."""
    query = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\3lab\4test\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(timeout)
        try:
            one.sendto(query, (server, 53))
            return one.recv(512)[:2] == b"\x12\x34"
        except OSError:
            return False


def answer_of_old_flow(interface: str, source: str, port: int, target: str) -> None:
    """Sends one TCP segment as if a flow of before went on, from the calling thread's namespace."""
    segment = _segment(port)
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, 6, len(segment))
    segment = segment[:16] + struct.pack("!H", _checksum(pseudo + segment)) + segment[18:]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        one.bind((source, 0))
        one.sendto(segment, (target, 0))


def answer_of_old_flow6(interface: str, source: str, port: int, target: str) -> None:
    """The same by IPv6."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_TCP) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        # IPV6_CHECKSUM: the kernel fills it in, at this offset.
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, 16)
        one.bind((source, 0))
        one.sendto(_segment(port), (target, 0))


def _segment(port: int) -> bytes:
    return struct.pack("!HHIIBBHHH", port, SERVICE, 1, 1, 5 << 4, 0x18, 64240, 0, 0) + b"old flow"


def _checksum(octets: bytes) -> int:
    octets += b"\0" * (len(octets) % 2)
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
