"""A Dynamic Authorization Server (RFC 5176) that is not ours, on pyrad.

    pyrad_das.py --secret SECRET [--address 127.0.0.1] ACTION...

Prints {"listening": PORT}, then one line of JSON for every datagram: who sent it, its octets, what pyrad read in
it, and whether its authenticators hold. Each new request takes the next action, the last one again and again:

    ack                  acknowledge              ack-signed    the same with Message-Authenticator
    nak[:CAUSE]          refuse, with Error-Cause
    silent               never answer             silent-then-ack    answer the first retransmission
    wrong-secret         answer with another secret, never rightly
    wrong-secret-then-ack, bad-signature-then-ack, other-port-then-ack, wrong-code-then-ack, noise-then-ack
                         answer wrongly at once, and rightly behind it
    gather:N             acknowledge when N such requests have come, then at once

A repeated datagram gets what its request got (RFC 5080 §2.2.2).
"""

import argparse
import hashlib
import hmac
import io
import json
import socket
import sys

from pyrad import packet
from pyrad.dictionary import Dictionary

ATTRIBUTES = """
ATTRIBUTE User-Name 1 string
ATTRIBUTE NAS-IP-Address 4 ipaddr
ATTRIBUTE NAS-Port 5 integer
ATTRIBUTE Framed-IP-Address 8 ipaddr
ATTRIBUTE Filter-Id 11 string
ATTRIBUTE Session-Timeout 27 integer
ATTRIBUTE Calling-Station-Id 31 string
ATTRIBUTE NAS-Identifier 32 string
ATTRIBUTE Acct-Session-Id 44 string
ATTRIBUTE Event-Timestamp 55 integer
ATTRIBUTE Message-Authenticator 80 octets
ATTRIBUTE NAS-Port-Id 87 string
ATTRIBUTE Error-Cause 101 integer
"""


def request_authenticator_holds(raw, secret):
    """RFC 5176 §2.3, by hand: pyrad's own answer is reported beside it."""
    digest = hashlib.md5(raw[:4] + bytes(16) + raw[20:] + secret).digest()
    return hmac.compare_digest(digest, raw[4:20])


def message_authenticator(raw, secret):
    """RFC 5176 §3.4: "absent", "valid" or "wrong"."""
    offset = 20
    while offset + 2 <= len(raw) and raw[offset + 1] >= 2:
        kind, length = raw[offset], raw[offset + 1]
        if kind == 80:
            value = raw[offset + 2 : offset + length]
            zeroed = raw[:4] + bytes(16) + raw[20 : offset + 2] + bytes(16) + raw[offset + length :]
            digest = hmac.new(secret, zeroed, hashlib.md5).digest()
            return "valid" if hmac.compare_digest(digest, value) else "wrong"
        offset += length
    return "absent"


def shown(value):
    return value.hex() if isinstance(value, bytes) else value


class Server:
    def __init__(self, arguments):
        self.secret = arguments.secret.encode()
        self.actions = arguments.actions
        self.dictionary = Dictionary(io.StringIO(ATTRIBUTES))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # Hundreds of requests at once must not be lost before they are read.
        self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self.udp.bind((arguments.address, 0))
        self.other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.other.bind((arguments.address, 0))
        self.seen = {}
        self.gathered = []
        self.released = False

    def run(self):
        self.tell({"listening": self.udp.getsockname()[1]})
        while True:
            raw, source = self.udp.recvfrom(65536)
            self.arrived(raw, source)

    def arrived(self, raw, source):
        request = packet.CoAPacket(packet=raw, secret=self.secret, dict=self.dictionary)
        key = (source, raw)
        again = key in self.seen
        self.tell(
            {
                "from": source[0],
                "port": source[1],
                "raw": raw.hex(),
                "code": request.code,
                "id": request.id,
                "again": again,
                "attributes": {str(name): [shown(value) for value in request[name]] for name in request.keys()},
                "authenticator": request_authenticator_holds(raw, self.secret),
                "pyrad": request.VerifyCoARequest(),
                "signature": message_authenticator(raw, self.secret),
            }
        )
        if not request.VerifyCoARequest():
            return
        if again:
            for answer in self.seen[key]:
                self.udp.sendto(answer, source)
            return
        action = self.actions.pop(0) if len(self.actions) > 1 else self.actions[0]
        self.seen[key] = self.act(action, request, source)

    def act(self, action, request, source):
        """Answers now; returns what a repeated request gets."""
        send = self.udp.sendto
        action, _, number = action.partition(":")
        if action == "silent":
            return []
        if action == "gather":
            answer = self.answer(request)
            self.gathered.append((answer, source))
            if not self.released and len(self.gathered) < int(number):
                return []
            self.released = True
            for waiting, to in self.gathered:
                send(waiting, to)
            self.gathered.clear()
            return [answer]
        if action == "nak":
            answer = self.answer(request, ack=False, cause=number)
            send(answer, source)
            return [answer]
        ack = self.answer(request, signed=action == "ack-signed")
        if action == "silent-then-ack":
            return [ack]
        if action == "wrong-secret":
            wrong = self.answer(request, secret=b"another")
            send(wrong, source)
            return [wrong]
        if action == "wrong-secret-then-ack":
            send(self.answer(request, secret=b"another"), source)
        elif action == "bad-signature-then-ack":
            send(self.badly_signed(request), source)
        elif action == "other-port-then-ack":
            self.other.sendto(ack, source)
        elif action == "wrong-code-then-ack":
            other = packet.DisconnectACK if request.code == packet.CoARequest else packet.CoAACK
            send(self.answer(request, code=other), source)
        elif action == "noise-then-ack":
            send(b"\x2c\x00", source)
        elif action not in ("ack", "ack-signed"):
            sys.exit("unknown action " + action)
        send(ack, source)
        return [ack]

    def answer(self, request, ack=True, cause="", signed=False, secret=None, code=None):
        reply = request.CreateReply()
        if not ack:
            reply.code = packet.CoANAK if request.code == packet.CoARequest else packet.DisconnectNAK
        if code is not None:
            reply.code = code
        if cause:
            reply.AddAttribute("Error-Cause", int(cause))
        if secret is not None:
            reply.secret = secret
        if signed:
            reply.add_message_authenticator()
        return reply.ReplyPacket()

    def badly_signed(self, request):
        """A right Response Authenticator around a Message-Authenticator made of nothing."""
        code = packet.CoAACK if request.code == packet.CoARequest else packet.DisconnectACK
        attributes = bytes([80, 18]) + bytes(16)
        head = bytes([code, request.id]) + (20 + len(attributes)).to_bytes(2, "big")
        digest = hashlib.md5(head + request.authenticator + attributes + self.secret).digest()
        return head + digest + attributes

    @staticmethod
    def tell(line):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--secret", required=True)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("actions", nargs="+")
    try:
        Server(parser.parse_args()).run()
    except KeyboardInterrupt:
        pass
