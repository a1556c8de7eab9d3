"""A Dynamic Authorization Client (RFC 5176) that is not ours, on pyrad.

    pyrad_dac.py SECRET coa|disconnect NAME=VALUE...

Sends one request to 127.0.0.1:3799 and prints the reply's code and its Error-Cause, if any. pyrad itself judges whether the
reply is genuine: one that is not is no reply.
"""

import io
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
ATTRIBUTE Session-Timeout 27 integer
ATTRIBUTE NAS-Identifier 32 string
ATTRIBUTE Acct-Session-Id 44 string
ATTRIBUTE Event-Timestamp 55 integer
ATTRIBUTE Message-Authenticator 80 octets
ATTRIBUTE Error-Cause 101 integer
"""

secret, kind, *attributes = sys.argv[1:]
client = Client(
    server="127.0.0.1", secret=secret.encode(), dict=Dictionary(io.StringIO(ATTRIBUTES)), retries=1, timeout=10
)
request = client.CreateCoAPacket(code=packet.CoARequest if kind == "coa" else packet.DisconnectRequest)
request.add_message_authenticator()
request["Event-Timestamp"] = int(time.time())
for attribute in attributes:
    name, value = attribute.split("=", 1)
    request[name] = int(value) if value.isdigit() else value
reply = client.SendPacket(request)
print(reply.code, *reply.get("Error-Cause", []))
