"""Where webhooks may lead."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from crew_pipeline.serving.addresses import AddressError, networks_of, resolved

INSIDE = [
    "127.0.0.1", "127.9.9.9", "10.0.0.8", "172.16.3.4", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1",
    "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1", "::127.0.0.1", "::ffff:0:7f00:1", "fec0::1", "168.63.129.16",
]  # fmt: skip


def leads(url: str, *allowed: str) -> str:
    return str(asyncio.run(resolved(url, networks_of(allowed))).url)


def names(monkeypatch: pytest.MonkeyPatch, *machines: str) -> None:
    """Have every name mean these machines."""

    def getaddrinfo(_: str, port: int) -> list[Any]:
        families = [socket.AF_INET6 if ":" in machine else socket.AF_INET for machine in machines]
        return [
            (family, socket.SOCK_STREAM, 6, "", (machine, port))
            for family, machine in zip(families, machines, strict=True)
        ]

    monkeypatch.setattr("crew_pipeline.serving.addresses._machines_of", getaddrinfo)


@pytest.mark.parametrize("machine", INSIDE)
def test_nothing_leads_inside_under_any_name(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, machine)
    with pytest.raises(AddressError, match="may not lead into this network"):
        leads("https://innocent.example/hook")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "2130706433", "0x7f000001", "127.1"])
def test_this_machine_has_many_names(host: str) -> None:
    with pytest.raises(AddressError):
        leads(f"https://{host}/hook")


def test_a_name_that_means_inside_and_outside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, "93.184.216.34", "10.0.0.8")
    with pytest.raises(AddressError):
        leads("https://two.example/hook")


def test_what_was_looked_at_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, "93.184.216.34")
    target = asyncio.run(resolved("https://Example.org:8443/hook?x=1", []))
    assert (str(target.url), target.host) == ("https://93.184.216.34:8443/hook?x=1", "example.org:8443")


def test_networks_that_are_named_may_be_led_into_also_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, "10.1.2.3")
    assert leads("http://inner.example/hook", "10.1.0.0/16") == "http://10.1.2.3/hook"
    with pytest.raises(AddressError):
        leads("http://inner.example/hook", "10.2.0.0/16")
    names(monkeypatch, "93.184.216.34")
    with pytest.raises(AddressError, match="https://"):
        leads("http://outer.example/hook", "10.1.0.0/16")


@pytest.mark.parametrize(
    "url",
    [
        "", "ftp://example.org", "https://", "https://user:password@example.org/", "example.org", "//example.org",
        "https://exa mple.org/", "https://[::1", "https://example.org:99999/", "https://x/" + "a" * 3_000,
        "javascript:alert(1)", "file:///etc/passwd", "https://\x00/", "https://" + "a" * 300 + ".org/",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(AddressError):
        leads(url)
