"""The day page in Chromium over loopback: how soon lines are seen and used, how much is sent, what moves."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import text

from benchmarks.common import CLIENT, days_by_size, free_port, loaded_store, options, progress, report, running
from crew_pipeline.orchestration.bulk import process_days
from crew_pipeline.settings import Settings
from crew_pipeline.storage.conversations.ingest import CrewKey, SourceLine, ingest
from crew_pipeline.storage.conversations.parts import calendar_of
from crew_pipeline.storage.opening import Databases
from crew_pipeline.storage.sources.crews import ensure_crew

LARGE_DAY = date(2024, 2, 29)
USUAL_LINES = 1_250
VISITS = 5
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

WATCH = """
window.told = { shift: 0, longest: 0 };
new PerformanceObserver((list) => { for (const one of list.getEntries()) told.shift += one.value; })
  .observe({ type: "layout-shift", buffered: true });
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) told.longest = Math.max(told.longest, one.duration);
}).observe({ type: "longtask" });
document.addEventListener("DOMContentLoaded", () => {
  const look = () => document.body.dataset.shown !== undefined && (told.shown ??= performance.now());
  new MutationObserver(look).observe(document.body, { attributes: true });
});
"""
NEXT = """
() => new Promise((resolve) => {
  const before = document.body.dataset.shown, began = performance.now();
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "l", bubbles: true }));
  const look = () => document.body.dataset.shown !== before && document.body.dataset.shown !== undefined
    ? requestAnimationFrame(() => resolve(performance.now() - began)) : setTimeout(look, 1);
  look();
})
"""


def main() -> None:
    """Measure a usual day, the one after it, a large one, and one that is made while it is looked at."""
    from playwright.sync_api import sync_playwright

    chosen = options(__doc__ or "")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise SystemExit("No Chromium is installed; Debian's package is 'chromium'.")
    with loaded_store(chosen.corpus) as (settings, databases):
        large = 2_000 if chosen.quick else 10_000
        usual, after, missing = _days(settings, databases, large)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with (
            running(["-m", "crew_pipeline.cli", "api", "--port", str(port)], f"{url}/healthz"),
            _worker(),
            sync_playwright() as driver,
        ):
            browser = driver.chromium.launch(executable_path=found, args=ARGUMENTS)
            progress("in the browser")
            content = {
                **_usual(browser, f"{url}/?day={usual}"),
                **_large(browser, f"{url}/?day={LARGE_DAY}"),
                **_made(browser, f"{url}/?day={missing}"),
                "lines": USUAL_LINES,
                "large_day_lines": large,
                "days": [str(usual), str(after)],
            }
            browser.close()
    report(content, as_json=chosen.json)


def _days(settings: Settings, databases: Databases, large: int) -> tuple[date, date, date]:
    """A usual day and the next that holds something, both ready, and one that is not; a large one is made ready too."""
    by_size = days_by_size(databases)
    near = sorted(by_size, key=lambda one: abs(one[1] - USUAL_LINES))
    days = sorted(day for day, _ in by_size)
    usual = next(day for day, _ in near if day != days[-1])
    after = days[days.index(usual) + 1]
    missing = next(day for day, _ in near if day not in (usual, after))
    _write_large_day(settings, databases, large)
    for day in (usual, after, LARGE_DAY):
        progress(f"processing {day}")
        process_days(settings, databases, (day, day))
    return usual, after, missing


def _write_large_day(settings: Settings, databases: Databases, lines: int) -> None:
    """A day of so many lines, taken from all others."""
    with databases.db.write() as connection:
        rows = connection.execute(
            text("SELECT speaker, text FROM lines ORDER BY conversation_id, position LIMIT :lines"), {"lines": lines}
        ).all()
        begin = datetime.combine(LARGE_DAY, datetime.min.time(), UTC)
        step = timedelta(days=1) / (lines + 1)
        said = [
            SourceLine(f"hour-{number * 24 // lines:02}", number, begin + number * step, row.speaker, row.text, number)
            for number, row in enumerate(rows)
        ]
        crew = CrewKey(CLIENT, "large", ensure_crew(connection, CLIENT, "large"))
        ingest(connection, crew=crew, lines=said, calendar=calendar_of(connection, settings, CLIENT, datetime.now(UTC)))


@contextmanager
def _worker() -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "crew_pipeline.cli", "worker-process"], env=os.environ, stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _visit(browser: Any, address: str) -> Any:
    """A window that has nothing kept from before, with the day drawn."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.add_init_script(WATCH)
    page.goto(address)
    page.wait_for_function("() => told.shown")
    return page


def _usual(browser: Any, address: str) -> dict[str, Any]:
    firsts, shown, nexts, sizes = [], [], [], {}
    for _ in range(VISITS):
        page = _visit(browser, address)
        page.wait_for_timeout(1_500)
        firsts.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        shown.append(page.evaluate("told.shown"))
        sizes = page.evaluate(
            """() => {
              const sized = (one) => [new URL(one.name).pathname, one.encodedBodySize];
              const of = (kind) => performance.getEntriesByType(kind).map(sized);
              const files = [...of("navigation"), ...of("resource")].filter(([path]) => !path.startsWith("/api"));
              const sum = (some) => some.reduce((all, [, size]) => all + size, 0) / 1024;
              return { script: sum(files.filter(([path]) => path.endsWith(".js"))), total: sum(files) };
            }"""
        )
        nexts.append(page.evaluate(NEXT))
        page.context.close()
    return {
        "first_lines_ms": round(statistics.median(firsts)),
        "interactive_ms": round(statistics.median(shown)),
        "next_day_ms": round(statistics.median(nexts)),
        "script_kb": round(sizes["script"], 1),
        "total_kb": round(sizes["total"], 1),
    }


def _large(browser: Any, address: str) -> dict[str, Any]:
    shown, longest = [], []
    for _ in range(VISITS):
        page = _visit(browser, address)
        shown.append(page.evaluate("told.shown"))
        page.wait_for_timeout(3_000)
        page.evaluate("told.longest = 0")
        page.mouse.move(640, 500)
        for _ in range(30):
            page.mouse.wheel(0, 2_500)
            page.wait_for_timeout(50)
        page.keyboard.press("/")
        page.keyboard.type("install the driver", delay=60)
        page.wait_for_timeout(500)
        longest.append(page.evaluate("told.longest"))
        page.context.close()
    return {
        "large_day_interactive_ms": round(statistics.median(shown)),
        "longest_task_ms": round(statistics.median(longest)),
    }


def _made(browser: Any, address: str) -> dict[str, Any]:
    """Of a day that is made while somebody has scrolled into it."""
    page = _visit(browser, address)
    page.mouse.move(640, 500)
    page.mouse.wheel(0, 3_000)
    page.wait_for_timeout(700)
    page.evaluate("told.shift = 0")
    began = time.monotonic()
    page.wait_for_function("() => document.getElementById('state').textContent === 'ready'", timeout=300_000)
    page.wait_for_timeout(500)
    shift = page.evaluate("told.shift")
    page.context.close()
    return {"layout_shift": round(shift, 4), "made_in_s": round(time.monotonic() - began, 1)}


if __name__ == "__main__":
    main()
