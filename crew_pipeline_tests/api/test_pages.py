"""The pages: their first lines are there before any script, and nothing that was said becomes a part of them."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from crew_pipeline.storage.database import Database
from crew_pipeline.web import page
from crew_pipeline.web.static_files import PAGES, bundled, modules, static_files
from crew_pipeline_tests.conftest import Ready, bring, lines_at

DAY = "2025-01-15"
HOSTILE = "<img src=x onerror=alert(1)></div><script>alert(1)</script>{{ 7 * 7 }}"


@pytest.fixture
def first_look(api: TestClient, db: Database, make_ready: Ready) -> str:
    bring(db, lines_at(DAY, HOSTILE, (HOSTILE, HOSTILE), ("Ben", "an answer")), client="default")
    make_ready(DAY)
    return api.get("/", params={"day": DAY}).text


def test_the_first_lines_of_a_ready_day_are_there_at_once(first_look: str, api: TestClient) -> None:
    assert "an answer" in first_look
    assert "Wed, 15 January 2025" in first_look
    assert "an answer" in api.get("/").text
    assert "an answer" not in api.get("/", params={"day": "2025-01-14"}).text


@pytest.mark.parametrize("client", ["%00", "%0a", "x" * 5000, "%ff"])
def test_a_client_that_cannot_be_is_none(api: TestClient, client: str) -> None:
    answer = api.get(f"/?client={client}")
    assert answer.status_code == 200
    assert "xxxxx" not in answer.text


def test_what_was_said_is_text_and_nothing_else(first_look: str) -> None:
    assert "<img" not in first_look
    assert first_look.count("<script") == 1
    assert "{{ 7 * 7 }}" in first_look
    assert "49" not in re.sub(r"[0-9a-f]{8,}", "", first_look)


def test_nothing_is_inline_and_nothing_from_elsewhere(api: TestClient, first_look: str) -> None:
    assert re.findall(r"<style|\son[a-z]+=|\sstyle=|javascript:", first_look.replace("onerror=alert(1)", "")) == []
    addresses = re.findall(r'(?:src|href)="([^"]+)"', first_look)
    assert [address for address in addresses if not address.startswith(("/", "#"))] == []
    for path in ("/", "/status", "/themes"):
        policy = api.get(path).headers["content-security-policy"]
        assert "unsafe" not in policy
        assert policy.startswith("default-src 'none'")


def test_files_are_kept_for_ever_under_an_address_that_changes_with_them(api: TestClient) -> None:
    known = static_files()
    for name, file in known.files.items():
        plain = api.get(known.address(name), headers={"Accept-Encoding": "identity"})
        packed = api.get(known.address(name), headers={"Accept-Encoding": "gzip"})
        assert plain.content == packed.content == file.content
        assert packed.headers["content-encoding"] == "gzip"
        assert "immutable" in plain.headers["cache-control"]
    assert api.get(f"/static/{known.version}/../page.py").status_code == 404
    assert api.get("/static/another/day.js").status_code == 404


def test_every_module_is_a_part_of_a_page_and_stands_there_once() -> None:
    sources = modules()
    sent = "".join(static_files().files[name].content.decode() for name in PAGES)
    assert {name for name in sources if f"const ${name.removesuffix('.js')} = " not in sent} == set()
    assert re.findall(r"^(?:import|export)\b.*", sent, flags=re.MULTILINE) == []
    day = static_files().files["day.js"].content.decode()
    assert day.count("const $dom = ") == 1


def test_modules_in_a_circle_are_refused() -> None:
    circle = {"a.js": 'import { b } from "./b.js";', "b.js": 'import { a } from "./a.js";'}
    with pytest.raises(ValueError, match=r"a\.js > b\.js > a\.js"):
        bundled("a.js", circle)


def test_the_script_asks_for_the_day_as_the_page_has_announced(first_look: str, api: TestClient) -> None:
    (announced,) = re.findall(r'rel="preload" as="fetch" crossorigin href="([^"]+)"', first_look)
    assert api.get(announced.replace("&amp;", "&")).status_code == 200
    assert "preload" not in api.get("/", params={"day": "2025-01-14"}).text
    wanted = ", ".join(f'{name}: "{value}"' for name, value in page.VIEW.items())
    assert f"const VIEW = {{ {wanted} }};" in modules()["day.js"]


@pytest.mark.parametrize("script", PAGES)
def test_a_page_weighs_little(script: str) -> None:
    files = static_files().files
    assert len(files[script].compressed) < (60_000 if script == "day.js" else 20_000)
    others = [file for name, file in files.items() if not name.endswith(".js")]
    assert sum(len(file.compressed) for file in (files[script], *others)) < 150_000


@pytest.mark.parametrize(
    "cookie", ["", "theme-dark_clock-12", "theme-<script>_density-compact", "_-_", "theme", "x" * 4000]
)
def test_preferences_are_those_that_there_are(cookie: str, api: TestClient) -> None:
    chosen = page.preferences(cookie)
    assert set(chosen) == {"theme", "clock", "density", "numbers", "keys"}
    assert "<script>" not in chosen.values()
    answer = api.get("/", headers={"Cookie": f"crew_view={cookie}"})
    assert f'data-theme="{chosen["theme"]}"' in answer.text
