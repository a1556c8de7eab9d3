#!/usr/bin/env python3
"""A receiver for radhold's webhook approver, with nothing but Python's standard library.

It asks on its terminal (y or n), and answers by callback; or answers at once, in the response, for users named with --approve
or --deny. Put your own way of asking (ntfy, Matrix, Slack, a pager) in the place of ask().

    python3 webhook_receiver.py --port 8099 --secret-file webhook-secret
"""

import argparse
import hashlib
import hmac
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WINDOW = 300  # seconds a request counts as fresh
MOST = 64 * 1024  # octets of a request that are read


def sign(secret, body):
    """The two headers of a body that is sent now."""
    timestamp = str(int(time.time()))
    mac = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"X-Radhold-Timestamp": timestamp, "X-Radhold-Signature": "v1=" + mac}


def is_signed(secret, headers, body):
    """Whether whoever knows the secret has signed this body, lately."""
    timestamp = headers.get("X-Radhold-Timestamp", "")
    signature = headers.get("X-Radhold-Signature", "")
    mac = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature.encode(), ("v1=" + mac).encode()):
        return False
    return abs(time.time() - int(timestamp)) <= WINDOW


def answer(secret, question, word, by):
    """Answers a question later: a signed request to its callback."""
    body = json.dumps(
        {"session": question["session"], "nonce": question["nonce"], "answer": word, "by": by}
    ).encode()
    headers = {"Content-Type": "application/json", **sign(secret, body)}
    request = urllib.request.Request(question["callback"], data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        # 409: somebody was faster, or the deadline has passed. 503: not recorded, so it may be sent again.
        return json.load(error)


def ask(secret, question):
    """Asks whoever sits at the terminal. Replace this."""
    where = question["calling_station_id"] or "an unknown address"
    print(f"{question['user']} on {question['nas']} from {where}, {question['seconds_left']} s: y or n?", flush=True)
    line = sys.stdin.readline()
    if not line:
        return
    word = "approve" if line.strip().lower() in ("y", "yes") else "deny"
    print("told:", answer(secret, question, word, "terminal"), flush=True)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), MOST))
        if not is_signed(self.server.secret, self.headers, body):
            return self.respond(401, b"")
        message = json.loads(body)
        if message["event"] == "question":
            for word, users in (("approve", self.server.approve), ("deny", self.server.deny)):
                if message["user"] in users:
                    reply = {"nonce": message["nonce"], "answer": word, "by": "rule"}
                    return self.respond(200, json.dumps(reply).encode())
            threading.Thread(target=ask, args=(self.server.secret, message), daemon=True).start()
        elif message["event"] == "outcome":
            print(f"{message['user']} on {message['nas']}: {message['outcome']}", flush=True)
        self.respond(200, b"")

    def respond(self, status, body):
        self.send_response(status)
        for name, value in sign(self.server.secret, body).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8099, help="0 is any, and is printed")
    parser.add_argument("--secret-file", required=True)
    parser.add_argument("--approve", action="append", default=[], metavar="USER")
    parser.add_argument("--deny", action="append", default=[], metavar="USER")
    args = parser.parse_args()
    server = ThreadingHTTPServer((args.address, args.port), Receiver)
    with open(args.secret_file, "rb") as file:
        # As radhold reads it: one newline at its end is cut.
        server.secret = file.read().removesuffix(b"\n")
    server.approve, server.deny = args.approve, args.deny
    print(f"listening on {args.address}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
