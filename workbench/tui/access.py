"""Whom `workbench serve` lets in, without the server: the key, the session it becomes, hosts, and wrong keys counted.

The key stands in an address, which ends up in histories and terminals; so what a browser keeps is another secret, that
of this server's session. A page of another site cannot make a browser call this machine by a name of its own (DNS
rebinding), since such a name is refused.
"""

from __future__ import annotations

import hmac
import ipaddress
import math
import re
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

WRONG_KEYS, WINDOW = 10, 60.0
"""So many wrong keys an address of the network may send in so many seconds; then it waits."""
_MOST_PEERS = 1024
"""Addresses that are counted each by itself; further ones are counted together."""
_OTHERS = "others"
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)]|([a-z0-9._-]+?))\.?(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
"""All that a Host header may be. What stands in it gets into the page and its policy."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def new_key() -> str:
    """Something that nobody guesses: 192 bits."""
    return secrets.token_urlsafe(24)


@dataclass
class Access:
    """Who is let in by a server that listens on `host`, and that other machines may reach where it is `exposed`."""

    key: str
    host: str
    exposed: bool = False
    clock: Callable[[], float] = time.monotonic
    session: str = field(default_factory=new_key, init=False)
    """What a browser that brought the key keeps as a cookie; gone with the server."""
    _wrong: Counter[str] = field(default_factory=Counter, init=False)
    _window_ends: float = field(default=-math.inf, init=False)

    def knows_host(self, header: str) -> bool:
        """Whether a request names this server by a name or address of its own, through a forwarded port too."""
        if (named := _HOST.fullmatch(header)) is None:
            return False
        host = (named[1] or named[2]).casefold()
        if is_loopback(host) or host == self.host.casefold():
            return True
        # By an address nobody is led elsewhere: only names can be made to mean another machine.
        return self.exposed and (_address(host) is not None or host in _own_names())

    def knows_session(self, cookie: str) -> bool:
        """Whether a browser has brought the key to this server before."""
        return _same(cookie, self.session)

    def try_key(self, key: str, peer: str) -> bool:
        """Whether the key is right, tried from the address `peer`; a wrong one is counted.

        Where `seconds_to_wait` is over 0, no key is.
        """
        if self.seconds_to_wait(peer):
            return False
        right = _same(key, self.key)
        if not right:
            self._wrong[self._counted_as(peer)] += 1
        return right

    def seconds_to_wait(self, peer: str) -> int:
        """For how long keys from the address are not looked at, after too many wrong ones; 0 where they are."""
        now = self.clock()
        if now >= self._window_ends:
            self._wrong.clear()
            self._window_ends = now + WINDOW
        return math.ceil(self._window_ends - now) if self._wrong[self._counted_as(peer)] >= WRONG_KEYS else 0

    @property
    def peers(self) -> int:
        """How many addresses are remembered for their wrong keys."""
        return len(self._wrong)

    def _counted_as(self, peer: str) -> str:
        """Who can take another address at will is counted as one: a machine for itself, a network of IPv6."""
        address = _address(peer)
        if address is not None and address.is_loopback:
            name = "this machine"
        elif isinstance(address, ipaddress.IPv6Address):
            name = str(ipaddress.ip_network((address, 64), strict=False))
        else:
            name = peer
        return name if name in self._wrong or len(self._wrong) < _MOST_PEERS else _OTHERS


def _same(given: str, secret: str) -> bool:
    """Compared in equal time, whatever was given: what a browser sends may be no text (lone surrogates)."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), secret.encode())


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _own_names() -> set[str]:
    name = socket.gethostname().casefold()
    return {name, f"{name}.local", socket.getfqdn().casefold()}
