"""Below a path of a site, whether the proxy takes it away or hands it on."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from crew_pipeline.api.app import create_app
from crew_pipeline.settings import Settings, SettingsError, load_settings
from crew_pipeline.storage.database import Database
from crew_pipeline_tests.conftest import ENGINE, bring, lines_at

DAY = "2025-01-15"


@pytest.mark.parametrize("handed_on", ["", "/talk/crew"])
def test_its_addresses_lead_back_below_it(settings: Settings, database_url: str, db: Database, handed_on: str) -> None:
    bring(db, lines_at(DAY, "a", ("Ann", "hello")), client="default")
    below = settings.model_copy(update={"root_path": "/talk/crew"})
    with TestClient(create_app(below, database_url, ENGINE), base_url="http://localhost") as api:
        missing = api.get(f"{handed_on}/api/days/{DAY}/conversations?wait_s=0")
        assert missing.status_code == 202
        for name in ("status_url", "events_url"):
            address = missing.json()["metadata"][name]
            assert address.startswith("/talk/crew/api/")
            assert api.get(address.removeprefix("/talk/crew" if not handed_on else "")).status_code == 200
        with api.websocket_connect("ws://localhost" + missing.json()["metadata"]["websocket_url"]) as socket:
            assert socket.receive_json()["type"] == "snapshot"
        assert api.get(f"{handed_on}/openapi.json").json()["servers"] == [{"url": "/talk/crew"}]
        assert 'data-root="/talk/crew"' in api.get(handed_on or "/").text
        assert 'route="/api/days/{day}/conversations"' in api.get("/metrics").text
        assert api.get("/talk/crewmate").status_code == 404


@pytest.mark.parametrize("path", ["crew", "/a b", "/../x?", "//x", "/api", "/ws/crew", '/"onload='])
def test_what_is_no_path_of_a_site_is_refused(path: str) -> None:
    with pytest.raises(SettingsError, match="CREW_ROOT_PATH"):
        load_settings(root_path=path)


def test_a_slash_at_its_end_is_nothing() -> None:
    assert load_settings(root_path="/crew/").root_path == "/crew"
    assert load_settings(root_path="/").root_path == ""
