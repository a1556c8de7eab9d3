"""What the benches that start servers have in common: processes and their CPU seconds, free ports, a throw-away PostgreSQL; and, for those
that are NAS or approver themselves, RADIUS packets and the webhook's signatures."""
import contextlib, hashlib, hmac, http.server, json, os, pathlib, pwd, signal, socket, struct, subprocess, sys, threading, time

SECRET = "a secret of twenty-odd octets"
KEY = SECRET.encode()
WEBHOOK_SECRET = "a secret of the webhook, in octets"
ACCESS_REQUEST, ACCESS_ACCEPT, ACCOUNTING_REQUEST, ACCOUNTING_RESPONSE, STATUS_SERVER = 1, 2, 4, 5, 12
DISCONNECT_REQUEST, DISCONNECT_ACK, COA_REQUEST, COA_ACK = 40, 41, 43, 44
USER_NAME, USER_PASSWORD, NAS_PORT, CLASS, CALLING_STATION_ID, ACCT_STATUS_TYPE, ACCT_SESSION_ID = 1, 2, 5, 25, 31, 40, 44
ACCT_INPUT_OCTETS, ACCT_OUTPUT_OCTETS, ACCT_SESSION_TIME, MESSAGE_AUTHENTICATOR = 42, 43, 46, 80
START, STOP, INTERIM = 1, 2, 3
TICKS = os.sysconf("SC_CLK_TCK")
FREERADIUS = pathlib.Path("/etc/freeradius/3.0")


class Server:
    ours = False

    @property
    def name(self):
        return f"{self.kind}, {self.store}"

    @property
    def slug(self):
        return self.name.lower().replace(", ", "-").replace(" ", "-")

    def said(self):
        return self.log.read_text(errors="replace")[-2000:]

    @contextlib.contextmanager
    def process(self, command, home, **more):
        self.log = home / "log"
        with self.log.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=home, **more)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Radhold(Server):
    """On an SQLite store of its own, with a NAS on loopback and a user whose password is in home / "password"; and `more` to configure."""
    kind, store = "radhold", "SQLite"

    @contextlib.contextmanager
    def running(self, binary, home, user, log="warn", under=(), more=""):
        self.port, self.accounting = free_port(), free_port()
        (home / "secret").write_text(SECRET)
        (home / "password").write_text("correct horse")
        (home / "radhold.toml").write_text(f"""
state_dir = "{home}"
[server]
auth = ["127.0.0.1:{self.port}"]
accounting = ["127.0.0.1:{self.accounting}"]
[log]
filter = "{log}"
[nas.load]
address = "127.0.0.1"
secret = "{SECRET}"
{more}""")
        radhold = [binary, "--config", home / "radhold.toml"]
        subprocess.run([*radhold, "migrate"], check=True, stdout=subprocess.DEVNULL, cwd=home)
        subprocess.run([*radhold, "user", "add", user, "--password-file", home / "password", "--no-second-factor", "--store-as", "clear"],
                       check=True, stdout=subprocess.DEVNULL, cwd=home)
        with self.process([*under, *radhold, "serve"], home) as process:
            wait_for(lambda: answers(binary, self.port, home / "secret"), self)
            yield process


class Postgres:
    """A throw-away cluster: initdb's settings, a Unix socket, no network."""

    def __init__(self, home, stack):
        self.home, self.databases = home, 0
        versions = pathlib.Path("/usr/lib/postgresql").iterdir()
        self.binaries = max(versions, key=lambda path: int(path.name)) / "bin"
        account = pwd.getpwnam("postgres")
        self.account = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        home.mkdir(mode=0o700)
        os.chown(home, account.pw_uid, account.pw_gid)
        subprocess.run([self.binaries / "initdb", "--encoding=UTF8", "--locale=C.UTF-8", "--username=bench", "--auth=trust", "--pgdata",
                        home / "data"], check=True, stdout=subprocess.DEVNULL, cwd="/", **self.account)
        stack.callback(self.stop)
        # Clients are root, and the directory is its owner's alone otherwise.
        home.chmod(0o711)
        self.start()

    def start(self):
        command = [self.binaries / "postgres", "-D", self.home / "data", "-k", self.home, "-c", "listen_addresses="]
        command += ["-c", "shared_preload_libraries=pg_stat_statements"] if "BENCH_STATEMENTS" in os.environ else []
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=(self.home / "log").open("ab"), cwd="/", **self.account)
        for _ in range(300):
            if subprocess.run([self.binaries / "pg_isready", "-q", "-h", self.home]).returncode == 0:
                return
            time.sleep(0.1)
        sys.exit((self.home / "log").read_text())

    def settle(self):
        """Has it make the segments of WAL that one which has run for a while uses again. To make one takes 13 ms here, in which nothing
        is committed."""
        self.sql(self.url("postgres"), "SELECT count(pg_logical_emit_message(false, 'bench', repeat('x', 1 << 20))) "
                                       "FROM generate_series(1, 1000); CHECKPOINT")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)

    def database(self):
        """The URL of a new one; the one before is dropped, so that neither fills the other's cache."""
        if self.databases:
            self.sql(self.url("postgres"), f"DROP DATABASE bench{self.databases} WITH (FORCE)")
        self.databases += 1
        self.sql(self.url("postgres"), f"CREATE DATABASE bench{self.databases}")
        return self.url(f"bench{self.databases}")

    def further(self, name):
        """The URL of another new one, in place of the last of that name."""
        self.sql(self.url("postgres"), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.sql(self.url("postgres"), f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, database):
        return f"postgres://bench@localhost/{database}?host={self.home}"

    def sql(self, url, text):
        command = [self.binaries / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", url]
        return subprocess.run(command, check=True, input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.strip()

    def seconds(self):
        """CPU of all its processes, those that have ended included."""
        if self.process.poll() is not None:
            return 0.0
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return seconds(self.process.pid) + ended(self.process.pid) + sum(seconds(int(child)) for child in children)


def nice(level):
    """What a command is run under to have this niceness."""
    return ["nice", "-n", str(level)] if level else []


def libpq(url):
    database, home = url.removeprefix("postgres://bench@localhost/").split("?host=")
    return f"host={home} dbname={database} user=bench"


def fields(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return ["0"] * 20


def seconds(pid):
    return sum(int(ticks) for ticks in fields(pid)[11:13]) / TICKS


def ended(pid):
    return sum(int(ticks) for ticks in fields(pid)[13:15]) / TICKS


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(ready, server):
    for _ in range(300):
        if ready():
            return
        time.sleep(0.1)
    sys.exit(f"{server.name} does not start:\n{server.said()}")


def answers(binary, port, secret):
    """Whether a server answers Status-Server there."""
    command = [binary, "client", "status", f"127.0.0.1:{port}", "--secret-file", secret, "--timeout", "0.3", "--retries", "0"]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


# -- RADIUS

def request(code, identifier, items, key=KEY):
    """A request with these attributes, (type, value); its User-Password hidden, and signed."""
    signed = code in (ACCESS_REQUEST, STATUS_SERVER)
    authenticator = os.urandom(16) if signed else bytes(16)
    octets = b""
    for kind, value in items:
        if kind == USER_PASSWORD:
            value = hide(value, authenticator, key)
        octets += bytes([kind, len(value) + 2]) + value
    head = bytes([code, identifier]) + struct.pack(">H", 20 + len(octets) + (18 if signed else 0))
    if signed:
        octets += bytes([MESSAGE_AUTHENTICATOR, 18]) + bytes(16)
        octets = octets[:-16] + hmac.digest(key, head + authenticator + octets, "md5")
    else:
        authenticator = hashlib.md5(head + authenticator + octets + key).digest()
    return head + authenticator + octets


def acknowledgement(packet, key=KEY):
    """The CoA-ACK or Disconnect-ACK to a request."""
    reply = bytes([packet[0] + 1, packet[1], 0, 20])
    return reply + hashlib.md5(reply + packet[4:20] + key).digest()


def is_genuine(packet, key=KEY):
    """Request Authenticator (RFC 5176 §2.3) and, where there is one, Message-Authenticator."""
    if hashlib.md5(packet[:4] + bytes(16) + packet[20:] + key).digest() != packet[4:20]:
        return False
    place = 20
    while place < len(packet):
        if packet[place] == MESSAGE_AUTHENTICATOR:
            without = packet[:4] + bytes(16) + packet[20:place + 2] + bytes(16) + packet[place + 18:]
            return hmac.digest(key, without, "md5") == packet[place + 2:place + 18]
        place += packet[place + 1]
    return True


def attributes(packet):
    found, place = [], 20
    while place < len(packet):
        length = packet[place + 1]
        found.append((packet[place], packet[place + 2:place + length]))
        place += length
    return found


def hide(password, authenticator, key=KEY):
    padded, hidden, last = password + bytes(-len(password) % 16), b"", authenticator
    for place in range(0, len(padded), 16):
        last = bytes(a ^ b for a, b in zip(padded[place:place + 16], hashlib.md5(key + last).digest()))
        hidden += last
    return hidden


# -- the system behind the webhook

def take_questions(port, take):
    """Has `take` called with each message that is posted to this port, by threads that end with the process. What it gives is the
    answer in the response: (headers, body), or None."""

    class Receiver(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            headers, body = take(json.loads(self.rfile.read(int(self.headers["Content-Length"])))) or ({}, b"")
            self.send_response(200)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Threads(http.server.ThreadingHTTPServer):
        request_queue_size = 1024
        daemon_threads = True

    threading.Thread(target=Threads(("127.0.0.1", port), Receiver).serve_forever, daemon=True).start()


def signed(message):
    """Headers and body of a message to radhold."""
    body, timestamp = json.dumps(message).encode(), str(int(time.time()))
    mac = hmac.new(WEBHOOK_SECRET.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"X-Radhold-Timestamp": timestamp, "X-Radhold-Signature": f"v1={mac}"}, body
