"""Settings: a wrong value stops the start with a sentence, every setting is listed, secrets are not shown."""

from __future__ import annotations

import pytest

from crew_pipeline.settings import Settings, SettingsError, describe_settings, load_settings


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("CREW_FOLDING", "tight", "'strict', 'balanced' or 'loose'"),
        ("CREW_TIMEZONE", "Mars/Olympus", "an IANA time zone"),
        ("CREW_MIN_WORDS", "few", "a valid integer"),
        ("CREW_FIRST_DAY", "2000-13-01", "date"),
        ("CREW_FALLBACK_AFTER_S", "31", "less than or equal to 30"),
        ("CREW_ASSET_OWNERS", "team:talk,Ann", "owners such as"),
        ("CREW_LOG_LEVEL", "loud", "'debug', 'info'"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    sentence = str(caught.value)
    assert sentence.startswith(f"{variable}={value!r} cannot be used: expected ")
    assert told in sentence


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CREW_DATABASE_URL", "mysql://user:hunter2@db/x"),
        ("CREW_DATABASE_URL", "postgresql://user:hunter2@hunter2@db/x"),
        ("CREW_DATABASE_URL", "postgresql://user:hunt/hunter2@db/x"),
        ("CREW_DATABASE_URL", "postgresql://user:hunter2@db:port/x"),
        ("CREW_DATABASE_URL", "postgresql://user:#hunter2@db/x"),
        ("CREW_OWNER_DATABASE_URL", "postgresql://user:hunter2@hunter2@db/x"),
        ("CREW_DAGSTER_GRAPHQL_URL", "ftp://user:hunter2@dagster/graphql"),
    ],
)
def test_a_wrong_address_is_not_repeated(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["ENABLE_BACKGROUND_JOBS", "CREW_ENABLE_BACKGROUND_JOBS"])
def test_the_names_of_the_specification_are_read_too(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "false")
    assert load_settings().enable_background_jobs is False


def test_the_discovery_cron_is_read_under_both_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVERSATION_DISCOVERY_CRON", "*/7 * * * *")
    assert load_settings().discovery_cron == "*/7 * * * *"


def test_the_pair_scorer_is_read_under_its_old_name_and_listed_as_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREW_READER", "off")
    settings = load_settings()
    assert settings.pair_scorer == "off"
    (row,) = [row for row in describe_settings(settings) if row["variable"] == "CREW_PAIR_SCORER"]
    assert (row["value"], row["set"]) == ("'off'", "yes")


def test_every_setting_is_listed_with_its_default_and_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREW_DATABASE_URL", "postgresql://user:hunter2@db/x")
    monkeypatch.setenv("CREW_DAGSTER_GRAPHQL_URL", "https://user:hunter2@dagster/graphql")
    rows = describe_settings(load_settings())
    assert {row["variable"] for row in rows} == {f"CREW_{name.upper()}" for name in Settings.model_fields}
    assert all(row["description"] for row in rows)
    assert "hunter2" not in str(rows)


def test_the_address_of_the_dagster_ui_holds_no_password() -> None:
    chosen = load_settings(dagster_graphql_url="https://user:hunter2@dagster/crew/graphql")
    assert chosen.dagster_ui == "https://dagster/crew"
