"""The page of themes: what there is, when, where; and what somebody makes of it stays."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import pytest

from crew_pipeline.history.themes import update
from crew_pipeline_tests.conftest import published
from crew_pipeline_tests.history.themes.talk import OPTIONS, SUBJECTS, History
from crew_pipeline_tests.web.conftest import Site, Visitor, soon
from crew_pipeline_tests.web.test_for_everybody import findings

Visit = Callable[..., Visitor]
_numbers = itertools.count()


@pytest.fixture
def client(site: Site) -> str:
    """One with three weeks of talk about four subjects."""
    name = f"themes-{next(_numbers)}"
    History(site.db, partial(published, site.db)).weeks(3, name)
    update.update(site.db, name, OPTIONS, "UTC")
    return name


def shown(site: Site, visitor: Visitor, client: str) -> list[str]:
    visitor.page.goto(f"{site.url}/themes?client={client}")
    soon(lambda: visitor.page.locator("#state").get_attribute("data-state") == "ready")
    return visitor.texts(".theme-list h2")


@pytest.mark.parametrize("width", [1280, 390])
def test_themes_lead_to_what_was_said(site: Site, visit: Visit, client: str, width: int) -> None:
    visitor = visit(viewport={"width": width, "height": 850})
    page = visitor.page
    names = shown(site, visitor, client)
    assert len(names) == len(SUBJECTS)
    assert findings(visitor) == []
    page.get_by_role("link", name="kitten").click()
    soon(lambda: len(visitor.texts("#segments > li")) == 10)
    assert "kitten" in page.locator("h1").inner_text()
    assert findings(visitor) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#more").click()
    soon(lambda: len(visitor.texts("#segments > li")) == 20)
    page.locator("#segments a").first.click()
    soon(lambda: "kitten" in " ".join(visitor.texts(".line.active .words")))
    page.go_back()
    soon(lambda: "kitten" in page.locator("h1").inner_text())


def test_what_somebody_makes_of_themes_is_done_and_stays(site: Site, visit: Visit, client: str) -> None:
    visitor = visit()
    page = visitor.page
    shown(site, visitor, client)
    page.get_by_role("link", name="kitten").click()
    page.locator("#rename").fill("Our <b>cat</b>")
    page.get_by_role("button", name="Rename").click()
    soon(lambda: page.locator("h1").inner_text() == "Our <b>cat</b>")
    page.locator("#into").select_option(index=1)
    taken = page.locator("#into option:checked").inner_text()
    page.get_by_role("button", name="Put into it").click()
    page.locator("h1", has_text=taken).wait_for()
    before = page.url
    page.get_by_role("button", name="Divide it").click()
    page.wait_for_url(lambda url: url != before)
    names = shown(site, visitor, client)
    assert len(names) == len(SUBJECTS)
    page.locator("#new-name").fill("Quarrels")
    page.locator("#new-examples").fill("why are you always late\nyou never listen to me")
    page.get_by_role("button", name="Find it").click()
    page.locator("h1", has_text="Quarrels").wait_for()
    page.get_by_role("button", name="Take it back").click()
    page.wait_for_url(f"{site.url}/themes?client={client}")
    soon(lambda: len(visitor.texts(".theme-list h2")) == len(SUBJECTS))
    page.get_by_role("link", name="football").click()
    page.locator("#word").fill("football")
    page.get_by_role("button", name="Forbid").click()
    soon(lambda: "football" not in page.locator("h1").inner_text())


def test_a_client_without_themes_is_told_when_there_will_be_some(site: Site, visit: Visit) -> None:
    client = site.talk(("Ann", "hello"))
    visitor = visit()
    visitor.open(site.address(client), "ready")
    visitor.page.locator("#open-themes").click()
    soon(lambda: visitor.page.locator("#state").inner_text() == "none yet")
    assert f"client={client}" in visitor.page.url
    visitor.page.goto(f"{site.url}/themes?client={client}&theme=99")
    soon(lambda: "There is no theme 99" in visitor.page.locator("#themes").inner_text())
    # The browser tells of the 404 that the page shows.
    visitor.said.clear()
