"""What is looked at stays: whatever arrives, late, twice or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crew_pipeline_tests.web.conftest import DAY, Site, Visitor, soon

Visit = Callable[..., Visitor]
LONG = tuple(
    (("Ann", "Ben")[number % 2], f"line number {number} of a long day, about the {number}th matter")
    for number in range(150)
)
MIDDLE = "document.querySelector('.line.active').getBoundingClientRect().top"


def long_day(site: Site) -> str:
    client = site.talk(*LONG)
    site.make(client)
    return client


def looked_at(visitor: Visitor, text: str = "line number 75 ") -> float:
    """Go to a line in the middle; where it is."""
    visitor.press("/")
    visitor.page.keyboard.type(text)
    visitor.press("Enter")
    soon(lambda: visitor.page.locator(".line.active", has_text=text).count() == 1)
    visitor.press("Escape")
    visitor.page.wait_for_timeout(300)
    return float(visitor.page.evaluate(MIDDLE))


def test_a_day_that_is_made_again_is_asked_for_now_and_then_only(site: Site, visit: Visit) -> None:
    client = long_day(site)
    site.talk(("Ann", "a line that came later"), client=client, session="later", hour=20)
    visitor = visit()
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url) if "/conversations" in request.url else None)
    visitor.page.goto(site.address(client))
    visitor.sees_state("ready")
    # What is out of sight is not laid out, and has no inner text.
    soon(lambda: "a line that came later" in visitor.page.locator(".line").last.text_content())
    visitor.page.wait_for_timeout(1500)
    assert len(asked) < 12


def test_lines_that_arrive_move_nothing_that_is_looked_at(site: Site, visit: Visit) -> None:
    client = long_day(site)
    visitor = visit()
    visitor.open(site.address(client))
    before = looked_at(visitor)
    site.talk(("Ann", "a line before all others"), client=client, session="earlier", hour=5)
    site.make(client)
    visitor.page.evaluate("window.dispatchEvent(new Event('online'))")
    soon(lambda: "2 conversations" in visitor.page.locator("#summary").inner_text())
    assert abs(visitor.page.evaluate(MIDDLE) - before) < 3


def test_another_look_or_every_line_leaves_what_is_looked_at(site: Site, visit: Visit) -> None:
    client = long_day(site)
    visitor = visit()
    page = visitor.open(site.address(client))
    before = looked_at(visitor)
    visitor.press(",")
    page.locator("#settings input[value='12']").check()
    page.locator("#settings input[value=dark]").check()
    visitor.press("Escape")
    assert abs(page.evaluate(MIDDLE) - before) < 3
    page.wait_for_timeout(100)
    visitor.press("f")
    assert abs(page.evaluate(MIDDLE) - before) < 3


@pytest.mark.may_complain("503")
def test_a_server_that_cannot_for_a_moment_takes_nothing_away(site: Site, visit: Visit) -> None:
    client = long_day(site)
    visitor = visit()
    page = visitor.open(site.address(client))
    refused: list[str] = []

    def refuse(route: Any) -> None:
        refused.append(route.request.url)
        route.fulfill(status=503, content_type="application/problem+json", body='{"detail": "The database is away."}')

    page.route("**/conversations?**", refuse)
    for _ in range(8):
        page.evaluate("window.dispatchEvent(new Event('online'))")
    visitor.sees_state("offline")
    assert len(visitor.texts()) > 20
    page.wait_for_timeout(3000)
    assert len(refused) < 14
    page.unroute("**/conversations?**")
    visitor.sees_state("ready")


def test_an_answer_that_was_overtaken_is_not_shown(site: Site, visit: Visit) -> None:
    client = long_day(site)
    visitor = visit()
    page = visitor.open(site.address(client))
    held: list[Any] = []

    def hold(route: Any) -> None:
        response = route.fetch(headers={**route.request.headers, "if-none-match": ""})
        body = response.json()
        if held:
            route.fulfill(response=response, json=body)
        else:
            body["data"][0]["display_conversation"][0]["text"] = "the older answer"
            held.append(lambda: route.fulfill(response=response, json=body))

    page.route("**/conversations?**", hold)
    page.evaluate("window.dispatchEvent(new Event('online'))")
    soon(lambda: (page.wait_for_timeout(50), held)[1])
    page.evaluate("window.dispatchEvent(new Event('online'))")
    page.wait_for_timeout(800)
    held[0]()
    page.wait_for_timeout(500)
    assert visitor.texts()[0] == LONG[0][1]


def test_back_leads_to_where_one_began(site: Site, visit: Visit) -> None:
    client = site.talk(("Ann", "what was said first"), day="2025-01-10")
    site.talk(("Ann", "what was said last"), client=client)
    for day in ("2025-01-10", DAY):
        site.make(client, day)
    visitor = visit()
    # The calendar comes late: who goes a day back before it is there is led to one that holds something all the same.
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    visitor.page.route("**/api/calendar?**", hold)
    page = visitor.open(f"{site.url}/?client={client}")
    assert f"day={DAY}" in page.url
    visitor.press("f", "h")
    soon(lambda: (page.wait_for_timeout(50), len(held) == 2)[1])
    for route in held:
        route.continue_()
    page.unroute("**/api/calendar?**")
    soon(lambda: visitor.texts() == ["what was said first"])
    page.go_back()
    soon(lambda: visitor.texts() == ["what was said last"])


def test_a_message_is_copied_whole_and_its_passages_stay_open(site: Site, visit: Visit) -> None:
    prompt = "\n".join(f"rule {number}: say what step {number} asked for, and nothing else" for number in range(9))
    client = site.talk(("Boss", f"{prompt}\none"), ("Boss", f"{prompt}\ntwo"), ("Ann", "a b c d"), ("Ann", "a b c d"))
    site.make(client)
    visitor = visit(permissions=["clipboard-read", "clipboard-write"])
    page = visitor.open(site.address(client))
    page.locator("details.gap summary").first.click()
    soon(lambda: "rule 8" in page.locator("details.gap").first.inner_text())
    page.locator(".more").first.click()
    soon(lambda: "rule 8" in page.locator("details.gap").first.inner_text())
    page.locator(".line", has_text="two").locator(".who").click()
    visitor.press("c")
    visitor.says("Copied")
    assert page.evaluate("navigator.clipboard.readText()").endswith(f"Boss: {prompt}\ntwo")


@pytest.mark.may_complain("401")
def test_signing_in_cannot_be_closed_away(own_site: Site, visit: Visit) -> None:
    from crew_pipeline.storage import tokens

    with own_site.db.write() as connection:
        tokens.create(connection, "acme")
    visitor = visit()
    visitor.page.goto(f"{own_site.url}/?day={DAY}")
    visitor.page.wait_for_selector("#sign-in[open]")
    for _ in range(3):
        visitor.press("Escape")
        visitor.page.wait_for_timeout(150)
    assert visitor.page.locator("#sign-in").is_visible()


def test_words_of_every_script_are_found_as_they_are(site: Site, visit: Visit) -> None:
    client = site.talk(
        ("Ann", "한국 사람"), ("Ben", "하고 회계"), ("Cleo", "İstanbul ve ßigma 👍 café"), ("Dov", "שלום? abc")
    )
    site.make(client)
    visitor = visit()
    page = visitor.open(site.address(client))
    visitor.press("/")
    for words, hits in (("한국", 1), ("CAFE", 1), ("ßigma", 1), ("👍", 1)):
        page.locator("#find-words").fill(words)
        soon(lambda hits=hits: page.locator("#find-count").inner_text().endswith(f"of {hits} line"))
