"""The pages in a real browser, over a real API and worker; whatever is said on the console fails the test."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text

from crew_pipeline.storage.database import Database, application_url, dagster_url, database_at, ensure_database
from crew_pipeline.storage.embedded import EmbeddedPostgres
from crew_pipeline_tests.conftest import bring, lines_at
from crew_pipeline_tests.deployments import Processes, free_port, wait_until

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; 'make test-browser' does")

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
)  # fmt: skip
DAY = "2025-01-15"

_numbers = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


# Of this package alone: while a driver runs, its event loop is that of the thread, and others need their own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (Debian's package is 'chromium')")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield running
        running.close()


class Site:
    """An API, and a worker where one is asked for, over a database of their own."""

    def __init__(self, folder: Path, url: str, dagster: str) -> None:
        self.database_url = url
        self.db: Database = database_at(url)
        self.port = free_port()
        environment = {
            "CREW_HOME": str(folder),
            "CREW_DATABASE_URL": url,
            "DAGSTER_POSTGRES_URL": dagster,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        self._processes = Processes(folder, environment)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, below: str = "") -> None:
        command = [sys.executable, "-m", "crew_pipeline.cli", "api", "--port", str(self.port)]
        command = ["env", f"CREW_ROOT_PATH={below}", *command]
        self._processes.start("api", command)
        wait_until(self._answers, "the API answers", 60)

    def start_worker(self) -> None:
        self._processes.start("worker", [sys.executable, "-m", "crew_pipeline.cli", "worker-process"])

    def stop(self, name: str = "api") -> None:
        self._processes.stop(name)

    def close(self) -> None:
        self._processes.stop_all()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz").status_code == 200
        except httpx.HTTPError:
            return False

    def talk(self, *said: tuple[str, str], client: str = "", day: str = DAY, session: str = "", hour: int = 9) -> str:
        """Lines of a session, for a client of its own unless one is given; returns the client."""
        client = client or f"client-{next(_numbers)}"
        bring(
            self.db,
            lines_at(day, session or f"talk of {day}", *said, hour=hour),
            client=client,
            today=date(2025, 1, 20),
        )
        return client

    def make(self, client: str, day: str = DAY) -> list[dict[str, Any]]:
        """Have a day made, and wait for it; its conversations in the full view."""

        def ready() -> Any:
            answer = httpx.get(
                f"{self.url}/api/days/{day}/conversations",
                params={"client": client, "view": "full", "wait_s": 30},
                timeout=60,
            )
            return answer.status_code == 200 and not answer.json()["metadata"]["stale"] and answer.json()["data"]

        conversations: list[dict[str, Any]] = wait_until(ready, f"{client}'s {day} is ready", 120)
        return conversations

    def address(self, client: str, day: str = DAY, **more: str) -> str:
        return str(httpx.URL(self.url, params={"client": client, "day": day, **more}))


def _new_site(server: EmbeddedPostgres, folder: Path) -> Iterator[Site]:
    name = f"site_{uuid.uuid4().hex[:8]}"
    admin = create_engine(application_url(server.url("postgres")), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template_crew"))
    ensure_database(server.url("postgres"), f"{name}_dagster")
    made = Site(folder, server.url(name), dagster_url(server.url(f"{name}_dagster")))
    try:
        made.start()
        yield made
    finally:
        made.close()
        made.db.close()
        with admin.connect() as connection:
            for one in (name, f"{name}_dagster"):
                connection.execute(text(f"DROP DATABASE {one} WITH (FORCE)"))
        admin.dispose()


@pytest.fixture(scope="package")
def site(browser: Any, server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One with a worker, shared: each test has clients of its own."""
    for made in _new_site(server, tmp_path_factory.mktemp("site")):
        made.start_worker()
        yield made


@pytest.fixture
def own_site(browser: Any, server: EmbeddedPostgres, tmp_path: Path) -> Iterator[Site]:
    """One of a single test, without a worker: it may be stopped, and given tokens."""
    yield from _new_site(server, tmp_path)


class Visitor:
    """A browser window, and what it complained of."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: set[str] = set()
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("request", lambda request: self.asked.add(str(httpx.URL(request.url).netloc, "ascii")))

    def open(self, address: str, state: str = "ready") -> Any:
        self.page.goto(address)
        self.sees_state(state)
        return self.page

    def sees_state(self, *states: str, within_s: float = 60) -> None:
        self.page.wait_for_function(
            "states => document.body.dataset.shown !== undefined"
            " && states.includes(document.getElementById('state').textContent)",
            arg=list(states),
            timeout=1000 * within_s,
        )

    def texts(self, selector: str = ".line .words") -> list[str]:
        return list(self.page.locator(selector).all_inner_texts())

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def says(self, words: str) -> None:
        """The page says something of what was done."""
        self.page.wait_for_function(
            "words => document.getElementById('message').textContent.includes(words)", arg=words, timeout=30_000
        )


@pytest.fixture
def visit(browser: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Visitor]]:
    """Open windows; afterwards nothing was said on a console and nobody else was asked for anything."""
    contexts, visitors = [], []

    def opened(**options: Any) -> Visitor:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(20_000)
        contexts.append(context)
        visitors.append(Visitor(context.new_page()))
        return visitors[-1]

    yield opened
    allowed = request.node.get_closest_marker("may_complain")
    for visitor in visitors:
        expected = () if allowed is None else allowed.args
        assert [one for one in visitor.said if not any(words in one for words in expected)] == []
        assert {asked.rpartition(":")[0] for asked in visitor.asked} <= {"127.0.0.1", ""}
    for context in contexts:
        context.close()


def soon(look: Callable[[], Any], within_s: float = 20) -> Any:
    """What ``look`` gives once it is true."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, "not within its time"
        time.sleep(0.05)
    return found
