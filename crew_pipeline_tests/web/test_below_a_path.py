"""A page that a proxy hands out below a path of a site."""

from __future__ import annotations

from collections.abc import Callable

from crew_pipeline_tests.web.conftest import DAY, Site, Visitor, soon


def test_everything_that_the_page_asks_for_lies_below_its_path(own_site: Site, visit: Callable[..., Visitor]) -> None:
    own_site.stop()
    own_site.start(below="/crew")
    own_site.start_worker()
    client = own_site.talk(("Ann", "what was said first"), day="2025-01-10")
    own_site.talk(("Ann", "what was said last"), client=client)
    visitor = visit()
    paths: list[str] = []
    visitor.page.on("request", lambda request: paths.append(request.url.removeprefix(own_site.url)))
    visitor.page.on("websocket", lambda socket: paths.append("/" + socket.url.split("/", 3)[3]))
    page = visitor.open(f"{own_site.url}/crew/?client={client}&day={DAY}")
    soon(lambda: page.locator("#before").get_attribute("aria-disabled") == "false")
    visitor.press("h")
    soon(lambda: visitor.texts() == ["what was said first"])
    assert page.url.startswith(f"{own_site.url}/crew/?")
    page.reload()
    visitor.sees_state("ready")
    page.goto(f"{own_site.url}/crew/status")
    soon(lambda: page.locator("a.button").inner_text() == "Days")
    page.locator("a.button").click()
    visitor.sees_state("empty")
    page.goto(f"{own_site.url}/crew/docs")
    soon(lambda: "Clean Up Crew" in page.locator("body").inner_text())
    assert {path.split("/")[1] for path in paths if not path.startswith("data:")} == {"crew"}
    assert any(path.startswith("/crew/ws/") for path in paths)
