"""Steps that several scenes take. Knows what the sandbox is for: DNS and the portal, and nothing else."""

import time

from ..aaa import Aaa
from ..client import Client
from ..lan import DNS, INSIDE, PORTAL, SERVICE
from ..nas import ADDRESS as NAS
from ..nas import SECRET
from ..process import check
from ..world import World


def sandboxed(client: Client, address: str = INSIDE) -> float:
    """The client is refused by the inside host, within a second; gives after how long."""
    tried = client.connect(address, SERVICE)
    check(tried.outcome not in ("open", "silent"), f"the sandbox does not refuse {address}: {tried}")
    check(tried.seconds < 1, f"refused too slowly: {tried}")
    return tried.seconds


def confined(client: Client) -> None:
    """All that the sandbox is: DNS and the portal answer, HTTP ends at the portal, all else is refused at once."""
    check(client.resolves(DNS), "DNS must work in the sandbox")
    check(not client.resolves(INSIDE), "DNS may be asked of the named resolvers only")
    check(client.fetch(PORTAL) == answer("portal"), "the portal must answer in the sandbox")
    check(client.fetch(INSIDE) == answer("portal"), "HTTP to elsewhere must end at the portal")
    sandboxed(client)


def answer(name: str) -> str:
    """The whole answer of a host's page."""
    return f"HTTP/1.0 200 OK\r\nContent-Length: {len(name) + 1}\r\n\r\n{name}"


def let_through(client: Client, address: str = INSIDE) -> None:
    """The client reaches the inside host."""
    tried = client.connect(address, SERVICE)
    check(tried.outcome == "open", f"{client.user} is permitted, but {address} is {tried}")


def approve(world: World, server: Aaa, client: Client, session: dict, figure: bool = False) -> float:
    """An operator approves; within one second the client is through. Gives the seconds it took."""
    through = client.first_through(INSIDE, SERVICE)
    pressed = server.decide("approve", session["id"])
    seconds = through.result() - pressed
    check(seconds < 10, "never let through after the approval")
    decided = server.show(session["id"])["decision"]
    check(decided["verdict"] == "approved" and decided["who"] == "lab", f"{decided}")
    if figure:
        world.figures["press → first packet through"] = f"{seconds * 1000:.0f} ms"
    check(seconds <= 1.0, f"let through {seconds:.2f} s after the press")
    return seconds


def order(server: Aaa, kind: str, attributes: str) -> str:
    """Debian's radclient orders something of the agent, from the server's host; gives all it said."""
    # The agent demands a time, and one machine has one clock.
    asked = f"{attributes},Event-Timestamp={int(time.time())},Message-Authenticator=0x00"
    return server.space.run("radclient", "-x", "-r", "1", f"{NAS}:3799", kind, SECRET, text_in=asked, check=False).stdout


def ended(server: Aaa, client: Client, user: str, seconds: float) -> tuple[dict, float]:
    """The NAS ends the client's link in PPP's own way within so long, and the server hears of it. Gives the session and when."""
    client.terminated(seconds)
    at = time.monotonic()
    closed = server.session(user, "closed")
    check(closed["end"]["cause"] == "stop", f"the NAS sent its Accounting-Stop: {closed['end']}")
    return closed, at


def struck(server: Aaa, user: str, why: str, session: str) -> None:
    """This session's end is the one strike there is."""
    strikes = server.strikes()
    check(strikes == [(user, why, session)], f"one strike, {why}: {strikes}")
