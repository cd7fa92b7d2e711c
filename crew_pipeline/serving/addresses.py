"""Where a webhook may lead: to the outside, and to networks that the operator has named.

Who registers a webhook makes this server ask where it points; so a name is resolved here, and what it resolves to is
looked at and connected to, whatever the name means a moment later.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple

import httpx

Network = IPv4Network | IPv6Network
Lookup = Callable[..., Awaitable[Any]]
LOOKUP_WITHIN_S = 5.0
_PORTS = {"https": 443, "http": 80}
_NAT64 = ip_network("64:ff9b::/96")
_INSIDE_ALL_THE_SAME = [
    ip_network(network)
    for network in ("64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96", "fec0::/10", "168.63.129.16/32", "192.88.99.0/24")
]
"""What lies inside, whatever is said of it: other ways to write addresses of version 4, former local ones, and a
cloud's own server at an address of the outside."""
LONGEST = 2_000
"""Characters of an address."""


class AddressError(ValueError):
    """A webhook may not lead there; the sentence says why, and nothing of what lies there."""


class Target(NamedTuple):
    """An address to post to: the machine to connect to, and who it is to prove to be."""

    url: httpx.URL
    host: str


def networks_of(named: Sequence[str]) -> list[Network]:
    """Networks from their names."""
    return [ip_network(network) for network in named]


def parsed(url: str) -> httpx.URL:
    """An address that a webhook may have, wherever it leads.

    Raises:
        AddressError: it has another form.
    """
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, ValueError, UnicodeError):
        address = httpx.URL("")
    has_form = address.scheme in _PORTS and address.host and not address.userinfo and (address.port or 0) <= 65_535
    if len(url) > LONGEST or not has_form:
        raise AddressError("A webhook is an address like https://example.org/hook, without user and password.")
    return address


async def resolved(url: str, allowed: Sequence[Network], lookup: Lookup = asyncio.to_thread) -> Target:
    """Where to connect for an address.

    Args:
        lookup: calls a function that may take long, in a thread.

    Raises:
        AddressError: there is no such host, it lies in a network of this machine or of its neighbours, or it is to be
            reached without TLS.
    """
    address = parsed(url)
    try:
        async with asyncio.timeout(LOOKUP_WITHIN_S):
            found = await lookup(_machines_of, address.raw_host.decode(), address.port or _PORTS[address.scheme])
    except (OSError, UnicodeError, OverflowError):
        raise AddressError("There is no such host.") from None
    machines = [ip_address(str(place[0]).partition("%")[0]) for *_, place in found]
    named = [any(machine in network for network in allowed) for machine in machines]
    # One that lies inside is enough to refuse a name: which of them is meant cannot be told.
    if not all(inside or _is_outside(machine) for machine, inside in zip(machines, named, strict=True)):
        raise AddressError("A webhook may not lead into this network; CREW_WEBHOOK_NETWORKS allows some.")
    if address.scheme == "http" and not all(named):
        raise AddressError("A webhook needs https:// unless CREW_WEBHOOK_NETWORKS names its network.")
    return Target(address.copy_with(host=str(machines[0])), address.netloc.decode())


def _is_outside(machine: IPv4Address | IPv6Address) -> bool:
    if isinstance(machine, IPv6Address):
        within = machine.ipv4_mapped or machine.sixtofour or (machine.teredo or (None, None))[1]
        if within is None and machine in _NAT64:
            within = IPv4Address(int(machine) & 0xFFFFFFFF)
        if within is not None:
            return _is_outside(within)
    if any(machine in network for network in _INSIDE_ALL_THE_SAME):
        return False
    return machine.is_global and not machine.is_multicast


def _machines_of(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
