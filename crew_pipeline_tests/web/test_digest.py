"""The digest: what a week was about, what was decided and what is to be done, and the way to where it was said."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import pytest

from crew_pipeline_tests.conftest import published
from crew_pipeline_tests.history.summaries.talk import FIRST, LATER, NOW, SAID, Meetings
from crew_pipeline_tests.web.conftest import Site, Visitor, soon
from crew_pipeline_tests.web.test_for_everybody import findings

Visit = Callable[..., Visitor]
_numbers = itertools.count()


@pytest.fixture
def client(site: Site) -> str:
    """One with three weekly meetings."""
    name = f"digest-{next(_numbers)}"
    Meetings(site.db, partial(published, site.db), name).hold()
    return name


def shown(site: Site, visitor: Visitor, client: str, day: str, state: str = "ready") -> None:
    visitor.page.goto(f"{site.url}/digest?client={client}&day={day}")
    soon(lambda: visitor.page.locator("#state").inner_text() == state)


@pytest.mark.parametrize("width", [1280, 390])
def test_a_week_is_told_and_leads_to_what_was_said(site: Site, visit: Visit, client: str, width: int) -> None:
    visitor = visit(viewport={"width": width, "height": 850})
    page = visitor.page
    shown(site, visitor, client, FIRST)
    assert page.locator("h1").inner_text() == "Week of 6 January 2025"
    assert SAID[FIRST][2][1] in page.locator("section[aria-label=Decided]").inner_text()
    to_do = page.locator("section[aria-label='To do']").inner_text()
    assert SAID[FIRST][3][1] in to_do
    assert "by Friday" in to_do
    assert findings(visitor) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("section[aria-label=Decided] a").first.click()
    soon(lambda: SAID[FIRST][2][1] in " ".join(visitor.texts(".line.active .words")))


def test_one_goes_from_week_to_week_and_to_days(site: Site, visit: Visit, client: str) -> None:
    visitor = visit()
    page = visitor.page
    visitor.open(site.address(client, LATER), "ready")
    visitor.press("w")
    page.locator("h1", has_text="Week of 13 January 2025").wait_for()
    soon(lambda: SAID[LATER][1][1] in page.locator("#digest").inner_text())
    page.locator("#before").click()
    page.locator("h1", has_text="Week of 6 January 2025").wait_for()
    page.locator("#other").click()
    page.locator("h1", has_text="6 January 2025").wait_for()
    soon(lambda: SAID[FIRST][2][1] in page.locator("#digest").inner_text())
    shown(site, visitor, client, "2030-01-01", "empty")
    assert "Nothing was said" in page.locator("#summary").inner_text()


def test_what_was_decided_before_stands_beside_what_is_related(site: Site, visit: Visit, client: str) -> None:
    visitor = visit()
    visitor.open(site.address(client, NOW), "ready")
    visitor.press("r")
    soon(lambda: any("decided" in one and SAID[LATER][1][1] in one for one in visitor.texts("#found-list li")))
    assert findings(visitor) == []


def test_where_the_same_was_said_is_shown_by_week_and_hour(site: Site, visit: Visit) -> None:
    name = f"digest-{next(_numbers)}"
    meetings = Meetings(site.db, partial(published, site.db), name)
    asked = "could you please send me the report of the third quarter"
    for day in ("2025-01-06", "2025-01-14", "2025-01-15"):
        meetings.say(day, ("Ann", asked), ("Ben", f"in a minute or two, it is of {day}"))
    visitor = visit()

    def told() -> bool:
        visitor.open(site.address(name, "2025-01-15"), "ready")
        visitor.press("e")
        soon(lambda: visitor.page.locator("#found").is_visible())
        return "3 times on 3 days" in visitor.page.locator("#found-told").inner_text()

    soon(told)
    assert len(visitor.texts("#found-list li")) == 2
    assert visitor.page.locator("#found-chart figure").count() == 2
    assert findings(visitor) == []
