"""Messages reach their webhooks: signed, however often it takes, and nobody waits for somebody else's receiver."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from crew_pipeline.client.signatures import new_secret, verify
from crew_pipeline.model import ClientDay
from crew_pipeline.serving import webhooks as delivering
from crew_pipeline.serving.addresses import networks_of
from crew_pipeline.serving.webhooks import Deliveries
from crew_pipeline.storage import webhooks
from crew_pipeline.storage.database import Database
from crew_pipeline.storage.days.events import EventType, emit
from crew_pipeline.storage.upkeep.alerts import Condition, settle
from crew_pipeline.storage.upkeep.retention import now
from crew_pipeline_tests.conftest import Ready, bring, lines_at
from crew_pipeline_tests.receivers import ALLOWED, Receiver, receiving

Query = Callable[..., list[tuple[object, ...]]]
DAY = "2025-01-15"
SECRET = new_secret()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "RETRIES_S", (0.01, 0.01))
    monkeypatch.setattr(delivering, "ANSWER_WITHIN_S", 0.5)


def add(db: Database, receiver: Receiver, client: str = "acme", *events: webhooks.Kind) -> str:
    with db.write() as connection:
        return webhooks.add(connection, client, receiver.url, events or webhooks.KINDS, "", SECRET)


def tell(db: Database, client: str = "acme", count: int = 1) -> None:
    for number in range(count):
        with db.write() as connection:
            webhooks.tell(connection, client, "day.ready", {"day": DAY, "number": number})


def deliver(db: Database, until: Callable[[], bool], processes: int = 1, allowed: tuple[str, ...] = ALLOWED) -> None:
    """Deliver until something is so."""

    async def work() -> None:
        deadline = time.monotonic() + 30
        several = [Deliveries(db, networks_of(allowed), look_every_s=0.02) for _ in range(processes)]
        for one in several:
            one.start()
        while not await asyncio.to_thread(until):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        for one in several:
            await one.stop()

    asyncio.run(work())


def states(db: Database, webhook_id: str, client: str = "acme") -> list[tuple[int, int | None, str | None]]:
    with db.read() as connection:
        kept = webhooks.deliveries(connection, client, webhook_id)
    return [(one.attempts, one.status, one.error) for one in kept if one.next_attempt_at is None]


def test_a_day_that_is_ready_is_told_and_signed(db: Database, receiver: Receiver, make_ready: Ready) -> None:
    webhook = add(db, receiver)
    bring(db, lines_at(DAY, "a", ("Ann", "one two three")), client="acme")
    make_ready(DAY, "acme")
    deliver(db, lambda: bool(states(db, webhook)))
    (message,) = receiver.posted
    assert verify(SECRET, message.headers, message.body).id.startswith("msg_")
    assert (message.told["type"], message.told["data"]["client"], message.told["data"]["day"]) == (
        "day.ready", "acme", DAY,
    )  # fmt: skip
    assert "one two three" not in message.body.decode()
    assert states(db, webhook) == [(1, 204, None)]


def test_a_day_that_failed_is_told(db: Database, receiver: Receiver) -> None:
    webhook = add(db, receiver, "acme", "day.failed")
    with db.write() as connection:
        emit(connection, ClientDay("acme", date(2025, 1, 15)), EventType.FAILED, {"error": "It broke."}, None)
        emit(connection, ClientDay("acme", date(2025, 1, 15)), EventType.COMPLETED, {"version": "v"}, None)
    deliver(db, lambda: bool(states(db, webhook)))
    assert [message.told["data"] for message in receiver.posted] == [
        {"client": "acme", "day": DAY, "error": "It broke."}
    ]


def test_what_is_taken_back_is_not_told(db: Database, query: Query, receiver: Receiver) -> None:
    add(db, receiver)
    with db.read() as connection:
        webhooks.tell(connection, "acme", "day.ready", {})
        connection.rollback()
    assert query("SELECT count(*) FROM webhook_deliveries") == [(0,)]


def test_nobody_is_told_of_another_clients_days(db: Database, receiver: Receiver) -> None:
    with receiving() as other:
        rivals = add(db, other, "rival")
        add(db, receiver)
        tell(db, "rival")
        deliver(db, lambda: bool(states(db, rivals, "rival")))
        assert (len(other.posted), receiver.posted) == (1, [])


def test_alerts_go_to_the_operator_and_to_whose_crew_it_is(db: Database, receiver: Receiver) -> None:
    for client in ("acme", "rival"):
        bring(db, lines_at(DAY, "a", ("Ann", "one two three")), client=client, crew="shop")
    with receiving() as operators, receiving() as rivals:
        hooks = [
            (add(db, one, client), client)
            for one, client in ((receiver, "acme"), (operators, webhooks.OPERATOR), (rivals, "rival"))
        ]
        with db.write() as connection:
            wrong = [Condition("discovery_failing", "acme/shop", "It fails."), Condition("cpu_busy", "system", "Busy.")]
            settle(connection, ("discovery_failing", "cpu_busy"), wrong, now(connection))
        deliver(db, lambda: sum(len(states(db, *hook)) for hook in hooks) == 3)
        # The text may name what is the operator's alone.
        assert [(message.told["data"]["kind"], message.told["data"]["text"]) for message in receiver.posted] == [
            ("discovery_failing", None)
        ]
        assert sorted(message.told["data"]["text"] for message in operators.posted) == ["Busy.", "It fails."]
        assert rivals.posted == []


def test_a_message_is_sent_again_under_its_name_until_it_is_taken(db: Database, receiver: Receiver) -> None:
    webhook = add(db, receiver)
    receiver.answers = [500, 0]
    tell(db)
    deliver(db, lambda: bool(states(db, webhook)))
    assert len({message.headers["webhook-id"] for message in receiver.posted}) == 1
    assert states(db, webhook) == [(3, 204, None)]


def test_a_message_that_nobody_takes_is_given_up_and_can_be_sent_again(db: Database, receiver: Receiver) -> None:
    webhook = add(db, receiver)
    receiver.answers = [503, 503, 503]
    tell(db)
    deliver(db, lambda: bool(states(db, webhook)))
    assert states(db, webhook) == [(3, 503, "It answered 503.")]
    with db.write() as connection:
        assert [(one.dead, one.waiting) for one in webhooks.list_all(connection, "acme")] == [(1, 0)]
        assert webhooks.again(connection, "acme", webhook) == 1
    deliver(db, lambda: bool(states(db, webhook)))
    assert states(db, webhook) == [(1, 204, None)]


def test_a_webhook_that_is_gone_is_told_nothing_more(db: Database, receiver: Receiver) -> None:
    webhook = add(db, receiver)
    receiver.answers = [410]
    tell(db)
    tell(db, count=3)
    deliver(db, lambda: len(states(db, webhook)) == 4)
    tell(db)
    deliver(db, lambda: True)
    assert len(receiver.posted) == 1
    with db.write() as connection:
        (kept,) = webhooks.list_all(connection)
        assert kept.disabled_at is not None
        assert (kept.waiting, kept.dead) == (0, 4)
        assert webhooks.again(connection, "acme", webhook) == 4
    deliver(db, lambda: len(receiver.posted) == 5)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_nobody_is_followed_elsewhere(db: Database, receiver: Receiver, status: int) -> None:
    with receiving() as inner:
        webhook = add(db, receiver)
        receiver.answers, receiver.location = [status] * 3, inner.url
        tell(db)
        deliver(db, lambda: bool(states(db, webhook)))
        assert inner.posted == []
    assert states(db, webhook) == [(3, status, f"It answered {status}.")]


def test_what_leads_inside_is_refused_when_it_is_sent_too(db: Database, receiver: Receiver) -> None:
    webhook = add(db, receiver)
    tell(db)
    deliver(db, lambda: bool(states(db, webhook)), allowed=())
    assert receiver.posted == []
    ((_, status, error),) = states(db, webhook)
    assert (status, error) == (None, "A webhook may not lead into this network; CREW_WEBHOOK_NETWORKS allows some.")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, to make a certificate")
def test_a_receiver_must_prove_its_name(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(_: str, port: int) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hook.test"]
    made += ["-addext", "subjectAltName=DNS:hook.test", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    monkeypatch.setattr("crew_pipeline.serving.addresses._machines_of", getaddrinfo)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with receiving(tls) as receiver:
        for name in ("hook.test", "other.test"):
            receiver.url = f"https://{name}:{receiver.url.rpartition(':')[2]}"
            webhook = add(db, receiver)
            tell(db)
            deliver(db, lambda webhook=webhook: bool(states(db, webhook)))  # type: ignore[misc]
            error = None if name == "hook.test" else "The connection failed."
            assert states(db, webhook)[-1][2] == error
            with db.write() as connection:
                webhooks.remove(connection, "acme", webhook)
        (message,) = receiver.posted
        assert message.headers["host"].startswith("hook.test:")


def test_a_receiver_that_takes_long_holds_up_nobody_elses(db: Database, receiver: Receiver) -> None:
    with receiving() as other:
        slow, quick = add(db, receiver), add(db, other, "rival")
        receiver.wait_s = 5
        tell(db, "acme", 30)
        tell(db, "rival", 30)
        deliver(db, lambda: len(states(db, quick, "rival")) == 30)
        # One at a time for each, and none is done within its time.
        assert len(receiver.posted) < 30
        assert all(error == "There was no answer within 0.5 s." for _, _, error in states(db, slow))
        receiver.wait_s = 0


def test_many_slow_receivers_of_one_client_hold_up_no_others(db: Database, receiver: Receiver) -> None:
    with receiving() as slow:
        slow.wait_s = 5
        hooks = [add(db, slow, "greedy") for _ in range(20)]
        tell(db, "greedy", 20)
        mine = add(db, receiver)
        tell(db)
        started = time.monotonic()
        deliver(db, lambda: bool(states(db, mine)), processes=2)
        assert time.monotonic() - started < 5
        assert len(slow.posted) <= 8
        assert len(hooks) == 20
        slow.wait_s = 0


def test_more_than_can_wait_is_given_up_visibly(
    db: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "MOST_WAITING", 3)
    add(db, receiver)
    tell(db, count=5)
    with db.read() as connection:
        assert [(one.waiting, one.dead) for one in webhooks.list_all(connection)] == [(3, 2)]


def test_an_alert_that_could_be_of_two_crews_goes_to_neither(db: Database, receiver: Receiver) -> None:
    bring(db, lines_at(DAY, "a", ("Ann", "one two three")), client="a", crew="b/c")
    bring(db, lines_at(DAY, "a", ("Ann", "one two three")), client="a/b", crew="c")
    add(db, receiver, "a")
    with db.write() as connection:
        settle(connection, ("discovery_slow",), [Condition("discovery_slow", "a/b/c", "Slow.")], now(connection))
        assert [one.waiting for one in webhooks.list_all(connection)] == [0]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "https://nowhere.invalid/", "http://127.0.0.1:70000/"])
def test_what_cannot_be_reached_is_given_up_as_well(db: Database, url: str) -> None:
    with db.write() as connection:
        webhook = webhooks.add(connection, "acme", url, webhooks.KINDS, "", SECRET)
    tell(db)
    deliver(db, lambda: bool(states(db, webhook)))
    assert states(db, webhook)[0][:2] == (3, None)


def test_several_processes_deliver_each_message_once(db: Database, receiver: Receiver) -> None:
    with ExitStack() as stack:
        receivers = [stack.enter_context(receiving()) for _ in range(3)]
        hooks = [add(db, one) for one in receivers]
        tell(db, count=20)
        deliver(db, lambda: all(len(states(db, hook)) == 20 for hook in hooks), processes=4)
        for one in receivers:
            assert [message.told["data"]["number"] for message in one.posted] == list(range(20))


def test_a_message_is_not_lost_with_the_process_that_sends_it(
    db: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "_LEASE_S", 0.2)
    webhook = add(db, receiver)
    receiver.wait_s = 0.4
    tell(db)
    deliver(db, lambda: bool(receiver.posted))
    assert states(db, webhook) == []
    receiver.wait_s = 0
    deliver(db, lambda: bool(states(db, webhook)))
    assert len({message.headers["webhook-id"] for message in receiver.posted}) == 1
    assert states(db, webhook)[0][1:] == (204, None)
