"""The day page: its lines, its folds in their places, and what people say about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from crew_pipeline_tests.web.conftest import DAY, Site, Visitor, soon

Visit = Callable[..., Visitor]

ASKED = "could you please send me the quarterly report by tomorrow evening"
TALK = (
    ("Ann", "good morning everyone, the build is green again"),
    ("Ann", ASKED),
    ("Ben", "the deploy of version 2.4.1 failed on the second host"),
    ("Ann", ASKED),
    ("Ben", "we should look at the disk of that host first"),
    ("Ann", ASKED),
)
SHIFTS = """
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shifted = (window.shifted || 0) + entry.value;
}).observe({ type: "layout-shift", buffered: true })
"""


@pytest.fixture
def client(site: Site) -> str:
    client = site.talk(*TALK)
    site.make(client)
    return client


def line(visitor: Visitor, text: str) -> Any:
    return visitor.page.locator(".line", has_text=text).first


def test_what_a_line_stands_for_and_what_is_said_elsewhere_opens_in_its_place(
    site: Site, client: str, visit: Visit
) -> None:
    visitor = visit()
    page = visitor.open(site.address(client))
    assert visitor.texts() == [TALK[0][1], ASKED, TALK[2][1], TALK[4][1]]
    assert page.locator(".gap-row").all_inner_texts() == ["1 line said elsewhere", "1 line said elsewhere"]
    line(visitor, ASKED).locator(".more").click()
    opened = page.locator(".variations li")
    assert [opened.nth(at).locator("p.words").inner_text() for at in range(2)] == [ASKED, ASKED]
    assert "100% sure" in opened.first.inner_text()
    page.locator(".gap-row button").first.click()
    hidden = page.locator(".hidden-line")
    assert ASKED in hidden.inner_text()
    assert "shown at 09:01, Ann: same words" in hidden.inner_text()
    page.keyboard.press("f")
    assert len(visitor.texts(".line")) == 6
    assert "view=full" in page.url
    page.keyboard.press("f")
    assert page.locator(".hidden-line").count() == 1


def test_what_somebody_says_holds_at_once_and_is_undone_by_a_key(site: Site, client: str, visit: Visit) -> None:
    visitor = visit()
    page = visitor.open(site.address(client))
    page.locator(".gap-row button").last.click()
    page.locator(".hidden-line").get_by_role("button", name="not the same").first.click()
    visitor.says("They are not the same")
    # They are said word for word alike: from now on each of them is seen.
    soon(lambda: page.locator(".gap-row").count() == 0)
    assert visitor.texts().count(ASKED) == 3
    visitor.press("u")
    visitor.says("Taken back")
    soon(lambda: page.locator(".gap-row").count() == 2)
    visitor.press("u")
    visitor.says("nothing to take back")


def test_two_lines_are_said_to_be_the_same_by_picking_the_other(site: Site, client: str, visit: Visit) -> None:
    visitor = visit()
    visitor.open(site.address(client))
    line(visitor, TALK[2][1]).click()
    visitor.press("s")
    visitor.says("Pick the line that says the same")
    visitor.press("Escape")
    line(visitor, TALK[2][1]).click()
    visitor.press("s")
    line(visitor, TALK[4][1]).click()
    visitor.says("They are the same")
    soon(lambda: len(visitor.texts()) == 3)
    visitor.press("u")
    visitor.says("Taken back")
    soon(lambda: len(visitor.texts()) == 4)


def test_a_missing_day_shows_its_lines_at_once_and_folds_in_place(site: Site, visit: Visit) -> None:
    said = []
    for number in range(240):
        said.append(("Ann", f"ticket number {number} is about the printer on floor {number % 7}"))
        said.append(("Ben", "please have a look at the printer again before you go home"))
    client = site.talk(*said, session="long")
    visitor = visit()
    page = visitor.page
    page.add_init_script(SHIFTS)
    page.goto(site.address(client))
    page.wait_for_selector(".line")
    page.evaluate("window.scrollTo(0, 4000)")
    page.wait_for_function(
        "[...document.querySelectorAll('.line')].some((one) => one.getBoundingClientRect().top > 200)"
    )
    kept = page.evaluate(
        """() => { window.shifted = 0;
            const line = [...document.querySelectorAll('.line')].find((one) => one.getBoundingClientRect().top > 200
              && one.textContent.includes('ticket'));
            line.focus({ preventScroll: true });
            return { id: line.id, top: line.getBoundingClientRect().top }; }"""
    )
    folded_before = page.locator(".gap-row").count()
    visitor.sees_state("ready", within_s=120)
    soon(lambda: page.locator(".gap-row").count() > 100)
    after = page.evaluate("id => document.getElementById(id).getBoundingClientRect().top", kept["id"])
    assert abs(after - kept["top"]) < 2
    assert page.evaluate("document.activeElement.id") == kept["id"]
    assert page.evaluate("window.shifted") == 0
    # What is looked at says that it is folded, and gives up its place when nobody looks.
    assert page.locator(".settling").count() > 0 or folded_before
    page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    soon(lambda: page.locator(".settling").count() == 0)


def test_a_conversation_that_is_folded_away_says_where_its_lines_are(site: Site, visit: Visit) -> None:
    client = site.talk(("Ann", ASKED), session="first", hour=8)
    site.talk(("Ann", ASKED), client=client, session="second", hour=11)
    site.make(client)
    visitor = visit()
    page = visitor.open(site.address(client))
    told = page.locator(".elsewhere:not([hidden])")
    assert told.inner_text() == "Every line is said elsewhere: first"
    told.get_by_role("link").click()
    assert "found" in str(line(visitor, ASKED).get_attribute("class"))
    assert "&line=" in page.url


def test_why_a_line_is_hidden_is_an_address(site: Site, client: str, visit: Visit) -> None:
    (conversation,) = site.make(client)
    hidden = conversation["display_conversation"][3]["line_id"]
    visitor = visit()
    page = visitor.open(site.address(client, line=hidden))
    shown = page.locator(f"[id='{hidden}']")
    assert "same words" in shown.inner_text()
    assert page.evaluate("document.activeElement.id") == hidden
    visitor.open(site.address(client, line="gone-1"))
    visitor.says("not in the day any more")


def test_words_are_found_in_every_line_also_hidden_ones(site: Site, client: str, visit: Visit) -> None:
    visitor = visit()
    page = visitor.open(site.address(client))
    visitor.press("/")
    page.keyboard.type("QUARTERLY")
    count = page.locator("#find-count")
    soon(lambda: count.inner_text() == "1 of 3 lines")
    visitor.press("Enter", "Enter")
    assert count.inner_text() == "3 of 3 lines"
    assert page.locator(".hidden-line.found").count() == 1
    assert page.evaluate("CSS.highlights.get('found').size") >= 1
    visitor.press("Shift+Enter")
    assert count.inner_text() == "2 of 3 lines"
    page.keyboard.press("Control+a")
    page.keyboard.type("no such word")
    soon(lambda: count.inner_text() == "nothing")
    visitor.press("Escape")
    assert page.locator("#find-box").is_hidden()


def test_words_are_found_in_what_is_folded_within_messages(site: Site, visit: Visit) -> None:
    prompt = "\n".join(f"rule {number}: never say more than was asked of you in step {number}" for number in range(9))
    client = site.talk(*(("Boss", f"{prompt}\nwrite the {name} page") for name in ("login", "logout", "start")))
    site.make(client)
    visitor = visit()
    page = visitor.open(site.address(client))
    assert page.locator("details.gap[open]").count() == 0
    visitor.press("/")
    page.keyboard.type("asked of you in step 7")
    soon(lambda: page.locator("#find-count").inner_text() == "1 of 3 lines")
    visitor.press("Enter")
    opened = page.locator(".line.found details.gap[open]")
    soon(lambda: opened.count() == 1 and "asked of you in step 7" in opened.inner_text())
    soon(lambda: page.evaluate("CSS.highlights.get('found').size") == 2)


def test_lines_hidden_in_a_row_have_one_mark_however_many(site: Site, visit: Visit) -> None:
    again = [("Ann", f"please look at printer number {number} on the fifth floor") for number in range(60)]
    client = site.talk(*again, ("Ben", "and now for something that was not said"), *again)
    site.make(client)
    visitor = visit()
    page = visitor.open(site.address(client))
    mark = page.locator(".gap-row button")
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    soon(lambda: mark.all_text_contents() == ["60 lines said elsewhere"])
    mark.click()
    soon(lambda: page.locator(".hidden-line").count() == 60)
    mark.click()
    soon(lambda: page.locator(".hidden-line").count() == 0)


@pytest.mark.parametrize(("form", "ending"), [("markdown", "md"), ("jsonl", "jsonl"), ("csv", "csv")])
def test_a_day_is_taken_along_as_a_file(site: Site, client: str, visit: Visit, form: str, ending: str) -> None:
    visitor = visit()
    page = visitor.open(site.address(client))
    for view, name, times in (("condensed", f"{DAY}.{ending}", 1), ("full", f"{DAY}-full.{ending}", 3)):
        page.get_by_text("Export", exact=True).click()
        with page.expect_download() as download:
            page.locator(f"[data-export='{form} {view}']").click()
        assert download.value.suggested_filename == name
        assert download.value.path().read_text().count(ASKED) == times


def test_what_repeats_in_a_message_is_a_mark_that_opens(site: Site, visit: Visit) -> None:
    prompt = "\n".join(f"rule {number}: never say more than was asked of you in step {number}" for number in range(9))
    client = site.talk(
        ("Boss", f"{prompt}\nwrite the login page"),
        ("Boss", f"{prompt}\nwrite the logout page"),
        ("Boss", f"{prompt}\n    def logout():\n        return None"),
    )
    site.make(client)
    visitor = visit()
    page = visitor.open(site.address(client))
    mark = page.locator("details.gap").first
    assert "9 lines" in mark.inner_text()
    mark.locator("summary").click()
    soon(lambda: "rule 8: never say more" in mark.inner_text())
    assert page.locator(".words code").last.inner_text().startswith("    def logout():")
    changes = page.get_by_role("button", name="show as changes").first
    if changes.count():
        changes.click()
        soon(lambda: "+ write the logout page" in page.locator(".changes").first.inner_text())


def test_another_operating_point_is_tried_before_it_is_kept(site: Site, client: str, visit: Visit) -> None:
    visitor = visit()
    page = visitor.open(site.address(client))
    visitor.press(",")
    page.locator("input[value=strict]").check()
    effect = page.locator(".effect")
    soon(lambda: "On this day: 0 lines folded more, 0 fewer." in effect.inner_text())
    page.get_by_role("button", name="Keep strict, for all days").click()
    visitor.says("Folds at strict now")
    point = httpx.get(f"{site.url}/api/folding", params={"client": client}).json()
    assert (point["folding"], point["own"]) == ("strict", True)


def test_about_the_day_tells_its_shape_folds_results_and_what_waits(site: Site, client: str, visit: Visit) -> None:
    site.talk(("Ann", "a line of another day"), client=client, day="2025-01-13")
    visitor = visit()
    page = visitor.open(site.address(client))
    visitor.press("i")
    about = page.locator("#about")
    soon(lambda: "in force" in about.inner_text() and "2025-01-13 waits" in about.inner_text())
    told = about.inner_text()
    assert "1 conversation · 6 lines · 2 folded" in told
    assert "+2" in told
    assert "same words" in told
    assert page.locator("#about-shape table.unseen").text_content().count("Ann") == 1
    assert (
        about.get_by_role("link", name="its Dagster run")
        .get_attribute("href")
        .startswith("http://127.0.0.1:3000/runs/")
    )
    about.locator(".largest button").first.click()
    assert ASKED in page.locator(".line.found").inner_text()
