"""A Dynamic Authorization Client (RFC 5176) that is not ours, on pyrad.

    pyrad_dac.py SECRET coa|disconnect NAME=VALUE...
    pyrad_dac.py SECRET drops NAME=VALUE...

Sends requests to 127.0.0.1:3799. The first form sends one, and prints the reply's code and its Error-Cause, if any; pyrad itself
judges whether the reply is genuine: one that is not is no reply.

The second sends, one way after the other, what proves nothing: a CoA-Request with these attributes, spoilt. Behind each goes a
genuine Disconnect-Request for nobody, and a line for each way has its name and the codes of all that was answered: what is dropped
silently is overtaken by that answer alone.
"""

import hashlib
import io
import socket
import sys
import time

from pyrad import packet
from pyrad.client import Client
from pyrad.dictionary import Dictionary

ATTRIBUTES = """
ATTRIBUTE User-Name 1 string
ATTRIBUTE NAS-Port 5 integer
ATTRIBUTE Service-Type 6 integer
ATTRIBUTE Framed-IP-Address 8 ipaddr
ATTRIBUTE Filter-Id 11 string
ATTRIBUTE State 24 octets
ATTRIBUTE Session-Timeout 27 integer
ATTRIBUTE NAS-Identifier 32 string
ATTRIBUTE Acct-Session-Id 44 string
ATTRIBUTE Event-Timestamp 55 integer
ATTRIBUTE Message-Authenticator 80 octets
ATTRIBUTE Framed-Pool 88 string
ATTRIBUTE Error-Cause 101 integer
"""
DAS = ("127.0.0.1", 3799)
WINDOW = 300


def main():
    secret, kind, *attributes = sys.argv[1:]
    client = Client(server=DAS[0], secret=secret.encode(), dict=Dictionary(io.StringIO(ATTRIBUTES)), retries=1, timeout=10)
    if kind == "drops":
        return drops(client, attributes)
    code = packet.CoARequest if kind == "coa" else packet.DisconnectRequest
    reply = client.SendPacket(request(client, code, attributes))
    print(reply.code, *reply.get("Error-Cause", []))


def request(client, code, attributes, at=0.0, signed=True):
    """With an Event-Timestamp so many seconds from now; None: without."""
    made = client.CreateCoAPacket(code=code)
    if signed:
        made.add_message_authenticator()
    if at is not None:
        made["Event-Timestamp"] = int(time.time() + at)
    for attribute in attributes:
        name, value = attribute.split("=", 1)
        if value.startswith("0x"):
            value = bytes.fromhex(value[2:])
        elif value.isdigit():
            value = int(value)
        made.AddAttribute(name, value)
    return made


def drops(client, attributes):
    plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    plain.settimeout(10)
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.bind(("127.0.0.3", 0))
    for name, octets in spoilt(client, attributes):
        sender = stranger if name == "unknown peer" else plain
        sender.sendto(octets, DAS)
        marker = request(client, packet.DisconnectRequest, ["User-Name=nobody"])
        plain.sendto(marker.RequestPacket(), DAS)
        heard = []
        while True:
            reply = plain.recv(4096)
            heard.append(reply[0])
            if reply[1] == marker.id and marker.VerifyReply(marker.CreateReply(packet=reply), reply):
                break
        stranger.setblocking(False)
        try:
            heard.append(stranger.recv(4096)[0])
        except BlockingIOError:
            pass
        print(f"{name}:", *heard)


def spoilt(client, attributes):
    """Names and octets of requests that must not be answered."""
    secret = client.secret

    def good(**options):
        return request(client, packet.CoARequest, attributes, **options)

    def again(octets):
        """Changed octets with a Request Authenticator that is right again (RFC 5176 §2.3)."""
        return octets[:4] + hashlib.md5(octets[:4] + bytes(16) + octets[20:] + secret).digest() + octets[20:]

    other = good()
    other.secret = b"another secret, as long as it"
    yield "bad secret", other.RequestPacket()
    yield "unknown peer", good().RequestPacket()
    yield "missing Message-Authenticator", good(signed=False).RequestPacket()
    octets = good().RequestPacket()
    # Of its value, not of the authenticator around it.
    found = octets.index(bytes([80, 18]), 20) + 2
    yield "wrong Message-Authenticator", again(octets[:found] + bytes([octets[found] ^ 1]) + octets[found + 1 :])
    octets = good().RequestPacket()
    yield "changed on its way", octets[:-1] + bytes([octets[-1] ^ 1])
    yield "wrong Request Authenticator", octets[:4] + bytes(16) + octets[20:]
    yield "Event-Timestamp of long ago", good(at=-WINDOW - 5).RequestPacket()
    yield "Event-Timestamp to come", good(at=WINDOW + 5).RequestPacket()
    yield "no Event-Timestamp", good(at=None).RequestPacket()
    octets = good().RequestPacket()
    for code in (packet.AccessRequest, packet.AccountingRequest, packet.CoAACK, packet.DisconnectNAK, packet.StatusServer, 250):
        yield f"code {code}", again(bytes([code]) + octets[1:])
    yield "empty", b""
    yield "a head cut short", octets[:19]
    yield "Length below 20", again(octets[:2] + (19).to_bytes(2, "big") + octets[4:])
    yield "Length beyond the datagram", again(octets[:2] + (len(octets) + 1).to_bytes(2, "big") + octets[4:])
    # An attribute that has not even room for its own head, and one that goes on behind the packet's end.
    for name, attribute in (("attribute of length 0", bytes([11, 0])), ("attribute of length 1", bytes([11, 1])), ("attribute beyond the end", bytes([11, 9, 120]))):
        longer = octets + attribute
        yield name, again(longer[:2] + len(longer).to_bytes(2, "big") + longer[4:])


if __name__ == "__main__":
    main()
