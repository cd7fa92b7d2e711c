"""What goes wrong on the way: sockets, servers, tokens, days that fail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from sqlalchemy import text

from crew_pipeline.model import ClientDay, DayState
from crew_pipeline.storage import tokens
from crew_pipeline.storage.days import states
from crew_pipeline_tests.web.conftest import DAY, Site, Visitor, soon

Visit = Callable[..., Visitor]
SAID = (("Ann", "the first thing that was said"), ("Ben", "and what was answered to it"))


def test_where_sockets_break_the_day_is_followed_by_asking(site: Site, visit: Visit) -> None:
    client = site.talk(*SAID)
    visitor = visit()
    broken: list[str] = []

    def cut(socket: Any) -> None:
        """The first is killed once something was told, the others never come through."""
        broken.append(socket.url)
        if len(broken) == 1:
            server = socket.connect_to_server()
            server.on_message(lambda message: (socket.send(message), socket.close()))
        else:
            socket.close()

    visitor.page.route_web_socket("**/ws/**", cut)
    visitor.open(site.address(client))
    assert len(broken) > 1
    assert visitor.texts() == [words for _, words in SAID]


# What a browser says of a server that goes: refused, cut off, or a handshake that uvicorn gave up with a 500.
@pytest.mark.may_complain("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "response code: 500")
def test_a_server_that_is_started_again_under_the_page_is_gone_on_with(own_site: Site, visit: Visit) -> None:
    client = own_site.talk(*SAID)
    visitor = visit()
    visitor.open(own_site.address(client), "in work")
    own_site.stop()
    visitor.sees_state("offline")
    assert visitor.texts() == [words for _, words in SAID]
    own_site.start()
    visitor.sees_state("in work")
    assert visitor.texts() == [words for _, words in SAID]


@pytest.mark.may_complain("401")
def test_a_token_that_is_over_is_asked_for_and_the_page_goes_on(own_site: Site, visit: Visit) -> None:
    own_site.talk(*SAID, client="acme")
    own_site.talk(("Eve", "a secret of the rival"), client="rival")
    with own_site.db.write() as connection:
        first, second = tokens.create(connection, "acme"), tokens.create(connection, "acme")
    visitor = visit()
    page = visitor.page
    page.goto(f"{own_site.url}/?day={DAY}")
    page.wait_for_selector("#sign-in[open]")
    assert "said" not in page.locator("#conversations").inner_text()
    page.fill("#token", "crew_wrong")
    page.keyboard.press("Enter")
    soon(lambda: "not in force" in page.locator("#sign-in-told").inner_text())
    page.fill("#token", first)
    page.keyboard.press("Enter")
    visitor.sees_state("in work")
    assert visitor.texts() == [words for _, words in SAID]
    assert first not in page.url
    (cookie,) = [cookie for cookie in page.context.cookies() if cookie["name"] == "crew_session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    with own_site.db.write() as connection:
        connection.execute(text("UPDATE api_tokens SET revoked_at = now() WHERE id = (SELECT min(id) FROM api_tokens)"))
    # The socket ends with the token, so the page finds out by itself.
    page.wait_for_selector("#sign-in[open]")
    page.fill("#token", second)
    page.keyboard.press("Enter")
    page.wait_for_selector("#sign-in:not([open])", state="attached")
    visitor.press("i")
    soon(lambda: "no result yet" in page.locator("#about-versions").inner_text())


@pytest.mark.may_complain("403")
def test_another_clients_days_are_not_shown(own_site: Site, visit: Visit) -> None:
    own_site.talk(("Eve", "a secret of the rival"), client="rival")
    with own_site.db.write() as connection:
        token = tokens.create(connection, "acme")
    visitor = visit()
    page = visitor.page
    page.goto(f"{own_site.url}/?day={DAY}")
    page.wait_for_selector("#sign-in[open]")
    page.fill("#token", token)
    page.keyboard.press("Enter")
    visitor.sees_state("empty")
    visitor.said.clear()
    visitor.open(f"{own_site.url}/?day={DAY}&client=rival", "not shown")
    assert "another client's" in page.locator("#summary").inner_text()
    assert "secret" not in page.content()


@pytest.mark.may_complain("500")
def test_a_failed_day_is_shown_as_it_was_said_and_tried_again(site: Site, visit: Visit) -> None:
    client = site.talk(*SAID)
    with site.db.write() as connection:
        connection.execute(
            text("UPDATE data_items SET updated_at = now() - interval '1 day' WHERE client = :c"), {"c": client}
        )
        states.set_status(
            connection, ClientDay(client, date.fromisoformat(DAY)), DayState.FAILED, error="no luck today"
        )
    visitor = visit()
    page = visitor.open(site.address(client), "failed")
    assert "no luck" in page.locator("#failure").inner_text()
    assert visitor.texts() == [words for _, words in SAID]
    page.get_by_role("button", name="Try again").click()
    visitor.sees_state("ready", within_s=120)
    assert page.locator("#failure").is_hidden()


def test_the_status_page_tells_what_the_system_does(site: Site, visit: Visit) -> None:
    client = site.talk(*SAID)
    site.make(client)
    visitor = visit()
    page = visitor.page
    page.goto(f"{site.url}/status")
    soon(lambda: "Last runs" in page.locator("#status").inner_text())
    told = page.locator("#status").inner_text()
    for part in ("Days", "Alerts", "What waits", "Visits", "Discovery"):
        assert part in told
    assert client in page.locator("section[aria-label='Last runs']").inner_text()
