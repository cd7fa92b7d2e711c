"""For everybody: no finding of axe-core on any view, everything by keyboard, large letters, a phone, little motion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crew_pipeline_tests.web.conftest import DAY, Site, Visitor, soon
from crew_pipeline_tests.web.test_day_page import ASKED, TALK

Visit = Callable[..., Visitor]


@pytest.fixture(scope="package")
def talked(site: Site) -> str:
    prompt = "\n".join(f"rule {number}: say what step {number} asked for, and nothing else" for number in range(9))
    client = site.talk(*TALK, ("Boss", f"{prompt}\none"), ("Boss", f"{prompt}\ntwo"))
    site.talk(("Ann", ASKED), client=client, session="another", hour=15)
    site.talk(("Ann", "on the day before"), client=client, day="2025-01-14")
    site.make(client)
    return client


def findings(visitor: Visitor) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(visitor.page).response["violations"]
    return [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_view_has_a_finding(site: Site, talked: str, visit: Visit, scheme: str, width: int) -> None:
    visitor = visit(color_scheme=scheme, reduced_motion="reduce", viewport={"width": width, "height": 850})
    page = visitor.open(site.address(talked))
    found = {"day": findings(visitor)}
    page.locator(".more").first.click()
    page.locator(".gap-row button").first.click()
    page.locator("details.gap summary").first.click()
    found["opened"] = findings(visitor)
    page.locator("#full").click()
    found["full"] = findings(visitor)
    views: list[tuple[str, Callable[[], Any]]] = [
        ("calendar", lambda: page.locator("#day-name").click()),
        ("year", lambda: (page.locator("#day-name").click(), page.locator("#calendar-year").click())),
        ("about", lambda: page.locator("#open-about").click()),
        ("settings", lambda: page.locator("#open-settings").click()),
        ("help", lambda: page.locator("#open-help").click()),
        ("find", lambda: (page.locator("#open-find").click(), page.keyboard.type("report"))),
    ]
    for name, go in views:
        go()
        page.wait_for_timeout(400)
        found[name] = findings(visitor)
        page.keyboard.press("Escape")
        page.wait_for_timeout(100)
    visitor.open(site.address(talked, "2025-01-17"), "empty")
    found["empty"] = findings(visitor)
    page.goto(f"{site.url}/status")
    soon(lambda: "Last runs" in page.locator("#status").inner_text())
    found["status"] = findings(visitor)
    page.goto(f"{site.url}/themes")
    soon(lambda: page.locator("#state").inner_text() == "none yet")
    found["themes"] = findings(visitor)
    assert {view: told for view, told in found.items() if told} == {}


def test_everything_is_done_by_keyboard_alone(site: Site, visit: Visit) -> None:
    client = site.talk(*TALK)
    site.talk(("Cleo", "what was said in the afternoon"), client=client, session="late", hour=15)
    site.talk(("Ann", "on the day before"), client=client, day="2025-01-14")
    site.make(client)
    visitor = visit()
    page = visitor.open(site.address(client))
    active = "document.activeElement.querySelector?.('.words')?.textContent || ''"
    visitor.press("j")
    assert page.evaluate(active).startswith(TALK[0][1])
    visitor.press("j")
    assert page.evaluate(active).startswith(ASKED)
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    visitor.press("o")
    assert page.locator(".variations li").count() == 2
    assert page.evaluate(active).startswith(ASKED)
    visitor.press("o", "k", "n")
    assert page.evaluate(active).startswith("what was said in the afternoon")
    visitor.press("p")
    assert page.evaluate(active).startswith(TALK[0][1])
    visitor.press("j", "j", "s", "j", "Enter")
    visitor.says("They are the same")
    visitor.press("u")
    visitor.says("Taken back")
    visitor.press("f")
    soon(lambda: page.locator(".hidden-line").count() == 2)
    page.locator(".hidden-line").first.focus()
    visitor.press("x")
    visitor.says("They are not the same")
    visitor.press("u")
    visitor.says("Taken back")
    visitor.press("/")
    page.keyboard.type("afternoon")
    visitor.press("Enter", "Escape")
    assert "in the afternoon" in page.locator(".line.found").inner_text()
    visitor.press("g", "d", "ArrowLeft", "Enter")
    soon(lambda: visitor.texts() == ["on the day before"])
    visitor.press("l")
    soon(lambda: f"day={DAY}" in page.url)
    visitor.press("?")
    assert "undo the last verdict" in page.locator("#help").inner_text()
    visitor.press("Escape")
    page.wait_for_timeout(100)
    visitor.press(",")
    page.locator("#settings input[value=dark]").focus()
    visitor.press("Space")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.parametrize("viewport", [{"width": 640, "height": 450}, {"width": 390, "height": 844}])
def test_large_letters_and_small_windows_need_no_scrolling_sideways(
    site: Site, talked: str, visit: Visit, viewport: dict[str, int]
) -> None:
    visitor = visit(viewport=viewport)
    page = visitor.open(site.address(talked))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    top = page.evaluate("document.querySelector('.line').getBoundingClientRect().top")
    assert top < viewport["height"] / 2 + 40


def test_who_wants_little_motion_gets_none(site: Site, talked: str, visit: Visit) -> None:
    visitor = visit(reduced_motion="reduce")
    page = visitor.open(site.address(talked))
    moving = (
        "[...document.querySelectorAll('*')].filter((one) => getComputedStyle(one).transitionDuration !== '0s').length"
    )
    assert page.evaluate(moving) == 0
    assert page.evaluate("document.getAnimations().length") == 0


def test_preferences_are_there_before_any_script_runs(site: Site, talked: str, visit: Visit) -> None:
    visitor = visit()
    page = visitor.open(site.address(talked))
    visitor.press(",")
    page.locator("input[value='12']").check()
    page.locator("input[value=compact]").check()
    assert "AM" in page.locator(".meta time").first.inner_text()
    without = visit(java_script_enabled=False, storage_state=page.context.storage_state())
    without.page.goto(site.address(talked))
    html = without.page.content()
    assert 'data-density="compact"' in html
    assert "09:00 AM" in html
    assert TALK[0][1] in html


def test_letters_are_no_keys_for_who_does_not_want_them(site: Site, talked: str, visit: Visit) -> None:
    visitor = visit()
    page = visitor.open(site.address(talked))
    visitor.press(",")
    page.locator("input[name=keys][value=off]").check()
    visitor.press("Escape", "?", "f", "j")
    assert page.locator("dialog[open]").count() == 0
    assert page.locator("#full").get_attribute("aria-pressed") == "false"
    assert page.locator(".line.active").count() == 0
    visitor.press("ArrowLeft")
    soon(lambda: visitor.texts() == ["on the day before"])
