"""From day to day: the calendar, the days that hold something, the address, clocks that are changed."""

from __future__ import annotations

from collections.abc import Callable

from crew_pipeline.storage.conversations import clients
from crew_pipeline_tests.web.conftest import DAY, Site, Visitor, soon

Visit = Callable[..., Visitor]
DAYS = ("2024-12-30", "2025-01-03", DAY)


def several(site: Site) -> str:
    client = ""
    for day in DAYS:
        client = site.talk(("Ann", f"what was said on {day}"), client=client, day=day)
        site.make(client, day)
    return client


def shown(visitor: Visitor, day: str) -> bool:
    return visitor.texts() == [f"what was said on {day}"]


def test_one_goes_to_days_that_hold_something_and_back(site: Site, visit: Visit) -> None:
    client = several(site)
    visitor = visit()
    page = visitor.open(site.address(client, DAYS[1]))
    soon(lambda: page.locator("#before").is_enabled())
    visitor.press("l")
    soon(lambda: shown(visitor, DAYS[2]))
    assert page.locator("#after").is_disabled()
    visitor.press("h", "h")
    soon(lambda: shown(visitor, DAYS[0]))
    assert f"day={DAYS[0]}" in page.url
    page.go_back()
    soon(lambda: shown(visitor, DAYS[1]))
    page.go_back()
    soon(lambda: shown(visitor, DAYS[2]))
    page.go_forward()
    soon(lambda: shown(visitor, DAYS[1]))
    visitor.press("]")
    soon(lambda: shown(visitor, DAYS[2]))
    visitor.press("H")
    soon(lambda: shown(visitor, DAYS[1]))


def test_the_calendar_shows_how_much_was_said_and_how_far_days_are(site: Site, visit: Visit) -> None:
    client = several(site)
    site.talk(("Ann", "one that nobody has asked for"), client=client, day="2025-01-20")
    visitor = visit()
    page = visitor.open(site.address(client))
    visitor.press("g", "d")
    soon(lambda: "3 days with 3 lines" in page.locator("#calendar-told").inner_text())
    waiting = page.locator("#calendar [data-day='2025-01-20']")
    assert "1 conversation, 1 line, 0 folded, waiting" in waiting.text_content()
    assert "waiting" in waiting.get_attribute("class")
    assert "nothing" in page.locator("#calendar [data-day='2025-01-16']").text_content()
    assert page.evaluate("document.activeElement.dataset.day") == DAY
    visitor.press("ArrowUp", "ArrowUp", "ArrowLeft", "ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.day") == "2024-12-30"
    visitor.press("Enter")
    soon(lambda: shown(visitor, DAYS[0]))
    visitor.press("g", "d")
    page.locator("#calendar-year").click()
    assert page.locator("#calendar table").count() == 12
    assert page.locator("#calendar-title").inner_text() == "2024"
    page.locator("#calendar-after").click()
    page.locator(f"#calendar [data-day='{DAY}']").click()
    soon(lambda: shown(visitor, DAY))


def test_days_of_23_and_25_hours_are_those_of_their_zone(site: Site, visit: Visit) -> None:
    client = ""
    for day in ("2024-03-31", "2024-10-27"):
        client = site.talk(("Ann", "a line of the night"), client=client, day=day, session=day, hour=3)
    with site.db.write() as connection:
        clients.set_timezone(connection, client, "Europe/Berlin")
    for day, hours, clock in (("2024-03-31", 23, "05:00"), ("2024-10-27", 25, "04:00")):
        site.make(client, day)
        visitor = visit(timezone_id="America/Los_Angeles")
        page = visitor.open(site.address(client, day))
        assert "Europe/Berlin" in page.locator("#summary").inner_text()
        assert page.locator(".meta time").inner_text() == clock
        visitor.press("i")
        assert page.locator("#about-shape g").count() == hours
        assert f"{clock}1" in page.locator("#about-shape table.unseen tbody").text_content()


def test_a_day_without_anything_and_one_that_is_none_say_so(site: Site, visit: Visit) -> None:
    client = several(site)
    visitor = visit()
    page = visitor.open(site.address(client, "2025-01-16"), "empty")
    assert page.locator("#nothing").inner_text() == "Nothing was said on 16 January 2025."
    visitor.open(site.address(client, "2025-02-30"))
    visitor.says("2025-02-30 is no day")
    assert shown(visitor, DAY)
