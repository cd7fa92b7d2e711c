"""All days are searched as one types, and each hit leads to its line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
from crew_pipeline.history.embedding import embed_day
from crew_pipeline.model import ClientDay, EngineOptions
from crew_pipeline_tests.web.conftest import DAY, Site, Visitor, soon
from crew_pipeline_tests.web.test_for_everybody import findings

Visit = Callable[..., Visitor]
EARLIER = "2025-01-10"
ENCODER = SentenceTransformerEncoder(precision="float32")


def searched(site: Site, visit: Visit, **options: object) -> tuple[Visitor, str]:
    """Two days, and a visitor of the second."""
    client = site.talk(
        ("Ann", "the kettle in the kitchen is broken"),
        ("Ben", "<b>buy</b> another 🫖 kettle & a cup"),
        day=EARLIER,
    )
    site.talk(("Cyd", "good morning"), ("Ann", "is there a new kettle?"), client=client)
    for day in (EARLIER, DAY):
        site.make(client, day)
    visitor = visit(**options)
    visitor.open(site.address(client))
    return visitor, client


def typed(visitor: Visitor, words: str, count: int) -> None:
    visitor.press("/")
    visitor.page.keyboard.type(words)
    soon(lambda: (visitor.page.wait_for_timeout(50), len(visitor.texts("#found-list a")) == count)[1])


def test_words_are_found_in_all_days_and_lead_to_their_line(site: Site, visit: Visit) -> None:
    visitor, _ = searched(site, visit)
    page = visitor.page
    typed(visitor, "kettle", 3)
    assert "3 in all days" in page.locator("#found-told").inner_text()
    assert set(visitor.texts("#found-list mark")) == {"kettle"}
    assert "<b>buy</b> another 🫖 kettle & a cup" in visitor.texts("#found-list .found-text")
    assert findings(visitor) == []
    page.locator("#found-list a", has_text="in the kitchen").click()
    soon(lambda: f"day={EARLIER}" in page.url)
    soon(lambda: page.locator(".line.active .words").all_inner_texts() == ["the kettle in the kitchen is broken"])
    page.go_back()
    soon(lambda: f"day={DAY}" in page.url)


def test_hits_are_gone_through_by_keyboard(site: Site, visit: Visit) -> None:
    visitor, _ = searched(site, visit)
    page = visitor.page
    typed(visitor, "kettle", 3)
    visitor.press("ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp")
    assert page.evaluate("document.activeElement.id") == "find-words"
    visitor.press("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown")
    assert page.evaluate("document.activeElement === document.querySelector('#found-list li:last-child a')")
    visitor.press("Escape")
    assert not page.locator("#find-box").is_visible()
    typed(visitor, "good morning", 1)
    visitor.press("ArrowDown", "Enter")
    soon(lambda: page.locator(".line.active .words").all_inner_texts() == ["good morning"])


def test_what_nobody_said_is_told_so(site: Site, visit: Visit) -> None:
    visitor, _ = searched(site, visit, viewport={"width": 390, "height": 800})
    typed(visitor, "kettle", 3)
    assert visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visitor.press("Escape")
    visitor.press("/")
    visitor.page.keyboard.type("zzzqqq")
    soon(lambda: visitor.page.locator("#found-told").inner_text() == "Nothing in all days.")


def test_what_speaks_of_the_same_is_a_key_away(site: Site, visit: Visit) -> None:
    client = site.talk(("Ann", "it is freezing in the office, the radiators do not get warm"), day=EARLIER)
    site.talk(("Cyd", "the heating in the office is too cold again, please call the caretaker"), client=client)
    for day in (EARLIER, DAY):
        site.make(client, day)
        embed_day(site.db, ClientDay(client, date.fromisoformat(day)), ENCODER, EngineOptions(), lambda: None)
    visitor = visit()
    page = visitor.open(site.address(client))

    def asked() -> bool:
        visitor.press("r")
        page.wait_for_timeout(400)
        if visitor.texts("#found-list a"):
            return True
        visitor.press("Escape")
        return False

    soon(asked)
    assert page.locator("#found-told").inner_text().startswith("Speak of the same as")
    assert findings(visitor) == []
    visitor.press("Enter")
    soon(lambda: f"day={EARLIER}" in page.url)
    soon(lambda: "radiators" in (page.locator(".line.active .words").text_content() or ""))
