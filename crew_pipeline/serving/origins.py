"""From where a request comes: which host it names, whose page asked for it, and whether somebody passed it on."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?")
_PASSED_ON = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_passed_on(request: HTTPConnection) -> bool:
    """Whether a proxy says that it passes on what comes from elsewhere."""
    return any(name in request.headers for name in _PASSED_ON)


def is_of_this_machine(request: HTTPConnection) -> bool:
    """Whether a program or a page of this machine asks.

    A page of another site must not reach a server without tokens through a host name that it points at this machine
    (DNS rebinding), nor by having the browser ask across sites. The header is judged as it was sent: what libraries
    make of an odd one differs.
    """
    origin = request.headers.get("origin")
    return (
        _names_this_machine(request)
        and (origin is None or is_loopback(_host_of(origin)))
        and request.headers.get("sec-fetch-site") != "cross-site"
        and not is_passed_on(request)
    )


def is_visit(request: HTTPConnection) -> bool:
    """Whether somebody follows a link of another site's page: that shows a page of ours, and tells the other nothing.
    The host must be this machine by its own name all the same."""
    navigates = request.headers.get("sec-fetch-mode") == "navigate" and request.scope.get("method") == "GET"
    return _names_this_machine(request) and navigates and not is_passed_on(request)


def is_of_another_site(request: HTTPConnection) -> bool:
    """Whether a browser asks for a page of another origin than this server's. Programs send no origin."""
    site = request.headers.get("sec-fetch-site")
    if site == "same-origin":
        return False
    # Browsers that do not say so name the page's origin; a proxy may have put another host into the request.
    origin = request.headers.get("origin")
    foreign = origin is not None and _netloc(origin) != request.headers.get("host")
    return foreign or site not in (None, "none")


def _names_this_machine(request: HTTPConnection) -> bool:
    host = _HOST.fullmatch(request.headers.get("host", ""))
    return host is not None and is_loopback(host[1])


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
