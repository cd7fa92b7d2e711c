"""Where a webhook may lead: to the outside, and to networks that the operator has named.

Who registers a webhook makes this server ask where it points; so a name is resolved here, and what it resolves to is
looked at and connected to, whatever the name means a moment later.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

import httpx

Network = IPv4Network | IPv6Network
_NAT64 = ip_network("64:ff9b::/96")
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
    if len(url) > LONGEST or address.scheme not in {"https", "http"} or not address.host or address.userinfo:
        raise AddressError("A webhook is an address like https://example.org/hook, without user and password.")
    return address


async def resolved(url: str, allowed: Sequence[Network]) -> Target:
    """Where to connect for an address.

    Raises:
        AddressError: there is no such host, it lies in a network of this machine or of its neighbours, or it is to be
            reached without TLS.
    """
    address = parsed(url)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            address.host, address.port or (443 if address.scheme == "https" else 80), type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError):
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
    return machine.is_global and not machine.is_multicast
