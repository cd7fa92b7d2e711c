"""Signed messages: taken as they were signed, and in no other way; other programs' signatures are the same."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from crew_pipeline.client.signatures import (
    ID,
    SIGNATURE,
    TIMESTAMP,
    SignatureError,
    Signed,
    new_secret,
    sign,
    verify,
)

SECRET = new_secret()
BODY = '{"type":"day.ready","data":{"client":"büro"}}'.encode()
NOW = 1_764_547_200


@given(body=st.binary(), at=st.integers(0, 2**36), ident=st.text("abc-_.123", min_size=1, max_size=40))
def test_what_is_signed_is_taken(body: bytes, at: int, ident: str) -> None:
    assert verify(SECRET, sign(SECRET, ident, at, body), body, now=at + 10) == Signed(ident, at)


@pytest.mark.parametrize(
    "change",
    [
        {ID: "msg_2"},
        {TIMESTAMP: str(NOW + 1)},
        {SIGNATURE: "v1,AAAA"},
        {SIGNATURE: "v2," + sign(SECRET, "msg_1", NOW, BODY)[SIGNATURE].removeprefix("v1,")},
        {SIGNATURE: ""},
        {ID: ""},
        {TIMESTAMP: "soon"},
        {TIMESTAMP: "９"},
        {TIMESTAMP: "-1"},
        {TIMESTAMP: "9" * 400},
        {ID: "x" * 100_000},
        {SIGNATURE: "v1,\u00e4"},
    ],
)
def test_what_was_changed_is_refused(change: dict[str, str]) -> None:
    headers = sign(SECRET, "msg_1", NOW, BODY)
    verify(SECRET, headers, BODY, now=NOW)
    with pytest.raises(SignatureError):
        verify(SECRET, {**headers, **change}, BODY, now=NOW)


def test_another_body_secret_or_time_is_refused() -> None:
    headers = sign(SECRET, "msg_1", NOW, BODY)
    for known, body, now in ((SECRET, BODY + b" ", NOW), (new_secret(), BODY, NOW), (SECRET, BODY, NOW + 301)):
        with pytest.raises(SignatureError):
            verify(known, headers, body, now=now)
    with pytest.raises(SignatureError, match="another time"):
        verify(SECRET, headers, BODY, now=NOW - 301)


def test_secrets_and_signatures_may_take_each_others_place() -> None:
    old, new = new_secret(), new_secret()
    both = {**sign(old, "m", NOW, BODY)}
    both[SIGNATURE] += " " + sign(new, "m", NOW, BODY)[SIGNATURE]
    assert verify(new, both, BODY, now=NOW).id == "m"
    assert verify((new, old), sign(old, "m", NOW, BODY), BODY, now=NOW).id == "m"


def test_other_programs_sign_and_read_the_same() -> None:
    theirs, moment = Webhook(SECRET), datetime.now(UTC).replace(microsecond=0)
    ours = sign(SECRET, "msg_1", int(moment.timestamp()), BODY)
    assert ours[SIGNATURE] == theirs.sign("msg_1", moment, BODY.decode())
    assert theirs.verify(BODY.decode(), ours) == {"type": "day.ready", "data": {"client": "büro"}}


def test_a_secret_that_is_none_is_said_to_be() -> None:
    with pytest.raises(ValueError, match="whsec_"):
        sign("whsec_!", "m", NOW, BODY)
    for nothing in ("", "whsec_", "whsec_AAAA"):
        with pytest.raises(ValueError, match="whsec_"):
            verify(nothing, sign(SECRET, "m", NOW, BODY), BODY, now=NOW)
