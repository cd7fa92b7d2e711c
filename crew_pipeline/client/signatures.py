"""Signed messages, as Standard Webhooks has them (https://www.standardwebhooks.com): both ways, one form.

A message has three headers: ``webhook-id``, the same whenever it is sent again; ``webhook-timestamp`` (s since 1970);
and ``webhook-signature``, one or more of ``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE_S = 300.0
"""How far a message's time may lie from now."""
_PREFIX = "whsec_"
_LONGEST_ID = 200
_SHORTEST_KEY = 24


class SignatureError(ValueError):
    """A message is not what it claims to be; the sentence says why, and nothing of the secret."""


class Signed(NamedTuple):
    """A message whose signature is right; ``timestamp`` in s since 1970."""

    id: str
    timestamp: int


def new_secret() -> str:
    """A secret to sign with."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a message.

    Args:
        secret: of ``new_secret``.
        timestamp: s since 1970.

    Raises:
        ValueError: the secret is none.
    """
    signature = "v1," + base64.b64encode(_digest(_key(secret), message_id, timestamp, body)).decode()
    return {ID: message_id, TIMESTAMP: str(timestamp), SIGNATURE: signature}


def verify(
    known: str | Iterable[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance_s: float = TOLERANCE_S,
    now: float | None = None,
) -> Signed:
    """Check a message; to be called with the body as it came, before it is read as JSON.

    Args:
        known: the secret, or several while one takes another's place.
        headers: of the request, by names in lower case or any mapping that does not mind their case.
        now: s since 1970; the clock's, unless given.

    Returns:
        What was signed. Whoever must not do a thing twice keeps the ``id`` for ``tolerance_s`` and longer.

    Raises:
        SignatureError: it is not signed, was signed with another secret, or is too old or of the future.
    """
    message_id, stamped, given = (headers.get(name) or "" for name in (ID, TIMESTAMP, SIGNATURE))
    if not (message_id and stamped and given):
        raise SignatureError(f"The message is not signed; it needs {ID}, {TIMESTAMP} and {SIGNATURE}.")
    if not (stamped.isascii() and stamped.isdecimal() and len(stamped) <= 12) or len(message_id) > _LONGEST_ID:
        raise SignatureError(f"{TIMESTAMP} must be seconds since 1970, and {ID} of {_LONGEST_ID} characters at most.")
    timestamp = int(stamped)
    if abs((time.time() if now is None else now) - timestamp) > tolerance_s:
        raise SignatureError(f"The message is from another time; {TIMESTAMP} must lie within {tolerance_s:g} s of now.")
    shown = [one.removeprefix("v1,").encode() for one in given.split() if one.startswith("v1,")]
    for secret in (known,) if isinstance(known, str) else tuple(known):
        expected = base64.b64encode(_digest(_key(secret), message_id, timestamp, body))
        if any(hmac.compare_digest(expected, one) for one in shown):
            return Signed(message_id, timestamp)
    raise SignatureError("The signature is not right: another secret, or a body that was changed on its way.")


def _digest(key: bytes, message_id: str, timestamp: int, body: bytes) -> bytes:
    signed = b".".join((message_id.encode("utf-8", "surrogateescape"), str(timestamp).encode(), body))
    return hmac.new(key, signed, hashlib.sha256).digest()


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if len(key) < _SHORTEST_KEY:
        raise ValueError("this is no secret to sign with; they look like whsec_…")
    return key
