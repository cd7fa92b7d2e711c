"""Every setting of the system: its default, its unit, what it means, and the environment variable that changes it."""

from __future__ import annotations

import os
import re
from datetime import date
from functools import lru_cache
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from crew_pipeline.home import find_home
from crew_pipeline.model import BUNDLED_MODEL, EngineOptions, OperatingPoint, Precision

DEFAULT_DISCOVERY_CRON = "*/5 * * * *"
_OWN_PATHS = (["api"], ["ws"], ["static"], ["docs"], ["status"])
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def known_zone(value: str) -> str:
    """Let only the names of time zones through.

    Raises:
        ValueError: this machine knows none of this name.
    """
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("an IANA time zone such as UTC or Europe/Berlin") from None
    return value


TimeZone = Annotated[str, AfterValidator(known_zone)]


def _listed(value: str) -> tuple[str, ...]:
    """The parts of a value that are separated by commas."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


class SettingsError(ValueError):
    """A setting has a value that cannot be used; the message names variable, value and what is allowed."""


class Settings(BaseSettings):
    """Settings read from the environment (prefix ``CREW_``). Times are seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="CREW_", populate_by_name=True, frozen=True, extra="ignore")

    home: Path | None = Field(
        None,
        description="folder that holds everything the embedded default writes; unset: the nearest .crew above, "
        "else the user's own data folder",
    )
    database_url: str | None = Field(
        None, description="your own Postgres (postgresql://…); unset: the embedded one under CREW_HOME"
    )
    owner_database_url: str | None = Field(
        None,
        description="the same database for the user who owns its tables and migrates them; unset: CREW_DATABASE_URL's",
    )
    timezone: TimeZone = Field(
        "UTC", description="IANA time zone in which a day begins and ends; a client may have one of its own"
    )
    first_day: date = Field(date(2000, 1, 1), description="first day that may hold lines; older ones are rejected")
    first_partition: date | None = Field(
        None,
        description="first day that Dagster lists as a partition; 'crew up' and 'crew env' set it to the year in which "
        "data begin, unset: CREW_FIRST_DAY",
    )
    days_ahead: int = Field(
        0,
        ge=0,
        le=1,
        description="days after today that are partitions: 1 where a client's time zone is ahead of CREW_TIMEZONE, "
        "which 'crew up' and 'crew env' see to",
    )

    model: str = Field(
        BUNDLED_MODEL,
        description="sentence-transformers model that 'crew evaluate' compares the engine with: 'bundled' "
        "(all-MiniLM-L6-v2), a name or a folder",
    )
    folding: OperatingPoint = Field(
        EngineOptions.folding,
        description="how sure the judge must be that two lines say the same; a client may have its own",
    )
    pair_scorer: Annotated[str, NoDecode] = Field(
        EngineOptions.pair_scorer,
        validation_alias=AliasChoices("CREW_PAIR_SCORER", "CREW_READER"),
        description="what scores pairs in doubt: 'bundled', 'off', or the name or folder of a cross-encoder",
    )
    short_repeats: Literal["own", "any"] = Field(
        EngineOptions.short_repeats,
        description="under whose lines very short ones fold: their own speaker's, or any that they repeat exactly",
    )
    min_words: int = Field(EngineOptions.min_words, ge=1, description="shorter lines stay visible (words)")
    max_words: int = Field(
        EngineOptions.max_words, ge=1, description="longer lines are folded only where they repeat exactly (words)"
    )
    min_cluster_size: int = Field(
        EngineOptions.min_cluster_size, ge=2, description="smallest cluster that is folded (lines)"
    )
    languages: Annotated[tuple[str, ...], NoDecode] = Field(
        EngineOptions.languages,
        description="languages in which lines are judged (ISO 639-1 codes, or 'any'); of others only what repeats word "
        "for word folds",
    )
    precision: Precision = Field(
        EngineOptions.precision,
        description="arithmetic of the bundled models; auto: 16 bits where the processor has them, twice as fast",
    )
    threads: int = Field(0, ge=0, description="CPU threads of the models; 0: one per core")
    embed_batch: int = Field(64, ge=1, le=1024, description="lines embedded in one forward pass")

    rest_h: float = Field(
        4,
        gt=0,
        le=8760,
        description="how long a conversation rests until what is said on another day is a part of that day (h)",
    )
    max_text_chars: int = Field(100_000, ge=1, description="longest text of one line that is imported (characters)")

    discovery_cron: Annotated[str, NoDecode] = Field(
        DEFAULT_DISCOVERY_CRON,
        validation_alias=AliasChoices("CREW_DISCOVERY_CRON", "CONVERSATION_DISCOVERY_CRON"),
        description="when history tables are looked at (cron)",
    )
    enable_background_jobs: bool = Field(
        True,
        validation_alias=AliasChoices("CREW_ENABLE_BACKGROUND_JOBS", "ENABLE_BACKGROUND_JOBS"),
        description="whether schedules and sensors start switched on",
    )
    use_optimized_discovery: bool = Field(
        True,
        validation_alias=AliasChoices("CREW_USE_OPTIMIZED_DISCOVERY", "USE_OPTIMIZED_DISCOVERY"),
        description="whether discovery reads what is new; false: every history table from its beginning, every time",
    )
    discovery_batch: int = Field(50, ge=1, le=10_000, description="sessions of a history table that one batch takes in")
    discovery_timeout_s: float = Field(
        30, gt=0, description="time that one round gives one crew (s); the rest next time"
    )
    deleted_sessions: Literal["keep", "withdraw"] = Field(
        "keep", description="sessions that their source deletes: kept, or withdrawn from their day and kept aside"
    )
    crews_file: Path | None = Field(None, description="YAML file with clients and crews, applied before each discovery")
    alert_webhook_url: str | None = Field(
        None, description="where alerts are posted as JSON when they are raised and resolved (https://…)"
    )
    sweep_interval_h: int = Field(2, ge=1, le=24, description="hours between two sweeps over the queue")
    sweep_batch: int = Field(75, ge=1, description="conversations that one sweep run takes")
    sweep_concurrency: int = Field(3, ge=1, description="sweep runs at once, at most")
    backfill_days: int = Field(
        31,
        ge=1,
        le=366,
        description="days that one run of a backfill takes; fewer, where many workers share a backfill",
    )
    sweep_timeout_min: int = Field(60, ge=1, description="minutes after which a sweep run is stopped")

    cpu_share_business: float = Field(
        0.3, gt=0, le=1, description="share of the cores that background runs may use in business hours"
    )
    cpu_share_outside: float = Field(0.7, gt=0, le=1, description="the same outside of them")
    background_cores: int = Field(
        0,
        ge=0,
        description="cores that background runs have a share of, of all machines that execute them; 0: this machine's",
    )
    business_hours: Annotated[tuple[int, int], NoDecode] = Field(
        (8, 18), description="first and last of the business hours, in the configured time zone: 8-18"
    )
    business_days: Annotated[tuple[str, ...], NoDecode] = Field(
        WEEKDAYS[:5], description="days that have them: mon,tue,wed,thu,fri"
    )
    housekeeping_hour: int = Field(2, ge=0, le=23, description="hour of the day at which old records are removed (h)")
    keep_events_d: int = Field(
        7, ge=1, description="days that progress events are kept; those of a day that waits or is in work stay"
    )
    keep_results_d: int = Field(
        30, ge=1, description="days that superseded versions of a result are kept; the one in force stays"
    )
    keep_claims_d: int = Field(30, ge=1, description="days that records of who computed a client's day are kept")
    keep_records_d: int = Field(
        30,
        ge=2,
        description="days that rounds of discovery, resolved alerts, samples of health and sent messages are kept",
    )
    keep_runs_d: int = Field(
        30, ge=1, description="days that Dagster runs are kept; those that the state of assets rests on stay"
    )

    fallback_after_s: float = Field(5, ge=0, le=30, description="how long a request for a missing day waits by default")
    on_demand_limit_s: float = Field(
        30, gt=0, description="one turn of an on-demand day (s); a longer day goes on after the others that wait"
    )
    on_demand_retries: int = Field(2, ge=0, le=8, description="times a day is tried again right after a failure")
    background_retries: int = Field(
        3, ge=0, le=8, description="times it is tried again after those, with a pause before each"
    )
    retry_backoff_s: float = Field(600, gt=0, description="the first such pause (s); it doubles each time")
    workers: int = Field(1, ge=1, le=64, description="warm worker processes that 'crew up' runs")
    worker_grace_s: float = Field(
        10, gt=0, description="time that a worker has to finish its day when it is told to stop (s)"
    )
    stuck_after_s: float = Field(
        600, gt=0, description="time after which one run of a worker counts as stuck and its process is ended (s)"
    )
    claim_ttl_s: int = Field(60, ge=5, description="seconds without a heartbeat after which a claim is taken over")
    poll_s: float = Field(2, gt=0, description="seconds between two looks at the queue when no notification comes")
    memory_limit_mb: int = Field(1024, ge=512, description="resident memory above which the worker is recycled (MiB)")
    on_demand: Literal["local", "dagster"] = Field(
        "local",
        description="who makes days that visitors wait for: 'local' (warm workers), 'dagster' (your deployment's runs)",
    )
    dagster_graphql_url: str = Field(
        "http://127.0.0.1:3000/graphql",
        description="GraphQL of that deployment (http://… or https://…; user:password@ becomes basic authentication)",
    )
    dagster_max_submitted: int = Field(
        20, ge=1, description="runs for visitors that are submitted to it and not ended; further days wait their turn"
    )
    document_cache_mb: int = Field(32, ge=0, description="day documents that the API keeps in memory (MiB)")
    limit_requests: int = Field(
        12_000, ge=0, description="requests that the API answers a client in a minute, where tokens are used; 0: any"
    )
    limit_writes: int = Field(300, ge=0, description="of these, requests that change something; 0: any")
    limit_forces: int = Field(20, ge=0, description="of these, days to be made again (force_process); 0: any")
    limit_wrong_tokens: int = Field(
        60, ge=0, description="wrong tokens of one address in a minute that are told so; 0: any"
    )
    limit_followers: int = Field(
        500, ge=0, description="WebSockets and streams of a client at once, where tokens are used; 0: any"
    )
    limit_webhooks: int = Field(20, ge=0, description="webhooks that a client may have")
    webhook_networks: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="networks of your own that webhooks may lead into, also without TLS (127.0.0.0/8,10.1.0.0/16)",
    )
    limit_waiting: int = Field(
        200, ge=0, description="requests of a client that wait for days that are missing; others are answered at once"
    )
    llm_url: str | None = Field(
        None, description="a server that speaks OpenAI's protocol (https://…/v1), for summaries in prose; unset: none"
    )
    llm_model: str = Field("", description="the name of its model")
    llm_key_env: str = Field("", description="the environment variable that holds its key")
    llm_tokens_per_day: int = Field(200_000, ge=0, description="tokens that all clients together take of it in a day")
    llm_timeout_s: float = Field(30.0, gt=0, le=300, description="how long its answer may take")
    asset_owners: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="who Dagster shows as owners of the assets (team:NAME or addresses of mail)"
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="origins of other sites whose pages may call the API with a token (https://shop.example,…)"
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="addresses of proxies whose X-Forwarded-For and X-Forwarded-Proto count (10.0.0.5,10.1.0.0/16)"
    )
    root_path: str = Field("", description="path of a site below which a proxy hands out the API and the page (/crew)")
    log_format: Literal["text", "json"] = Field("text", description="how the API and workers log: lines, or JSON")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")

    @field_validator("root_path")
    @classmethod
    def _below(cls, value: str) -> str:
        value = value.rstrip("/")
        if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", value) or value.split("/")[1:2] in _OWN_PATHS:
            raise ValueError(f"a path such as /crew, and none of our own ({', '.join(own for [own] in _OWN_PATHS)})")
        return value

    @field_validator("business_hours", mode="before")
    @classmethod
    def _hours(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        first, _, last = value.partition("-")
        if not (first.strip().isdigit() and last.strip().isdigit() and 0 <= int(first) <= int(last) <= 24):
            raise ValueError("two hours of the day such as 8-18")
        return int(first), int(last)

    @field_validator("business_days", mode="before")
    @classmethod
    def _weekdays(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        days = _listed(value.lower())
        if not set(days) <= set(WEEKDAYS):
            raise ValueError("days of the week such as mon,tue,wed,thu,fri")
        return days

    @field_validator("languages", mode="before")
    @classmethod
    def _codes(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        codes = tuple(sorted({*_listed(value.lower())}))
        if not codes or any(code != "any" and not re.fullmatch("[a-z]{2}", code) for code in codes):
            raise ValueError("codes of languages such as en,de, or any")
        return codes

    @field_validator("asset_owners", mode="before")
    @classmethod
    def _owners(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        owners = _listed(value)
        if not all(re.fullmatch(r"team:[\w./-]+|[^@\s]+@[^@\s]+\.[^@\s]+", owner) for owner in owners):
            raise ValueError("owners such as team:talk,ann@example.org")
        return owners

    @field_validator("llm_url")
    @classmethod
    def _server(cls, value: str | None) -> str | None:
        if value and not re.fullmatch(r"https?://[^/\s@?#]+(/[^\s@?#]*)?", value):
            raise ValueError("an address such as https://llm.example/v1, without a user or a key in it")
        return value or None

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _origins(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        origins = _listed(value)
        if not all(re.fullmatch(r"https?://[^/\s*]+", origin) for origin in origins):
            raise ValueError("origins such as https://shop.example, without a path")
        return origins

    @field_validator("trusted_proxies", "webhook_networks", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        networks = _listed(value)
        try:
            for network in networks:
                ip_network(network)
        except ValueError:
            raise ValueError("addresses or networks such as 10.0.0.5,10.1.0.0/16") from None
        return networks

    @field_validator("database_url", "owner_database_url")
    @classmethod
    def _postgres_only(cls, value: str | None) -> str | None:
        if not value:
            return None
        if not value.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
            raise ValueError("a postgresql:// address")
        # What is split in the wrong place is shown where hosts are, and a part of a password with it.
        shown, _, place = value.partition("://")[2].partition("?")[0].rpartition("@")
        if re.search(r"[@/\s#]", shown):
            raise ValueError("an address whose user and password write @ as %40, / as %2F and # as %23")
        if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:/\[\]]*)(:[0-9]{1,5})?(/.*)?", place):
            raise ValueError("an address like postgresql://user:password@host:5432/database")
        return value

    @field_validator("alert_webhook_url")
    @classmethod
    def _http_only(cls, value: str | None) -> str | None:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("an http:// or https:// address")
        return value or None

    @field_validator("dagster_graphql_url")
    @classmethod
    def _with_host(cls, value: str) -> str:
        if not re.match(r"https?://[^/]", value):
            raise ValueError("an http:// or https:// address")
        return value

    @property
    def zone(self) -> ZoneInfo:
        """The configured time zone."""
        return ZoneInfo(self.timezone)

    def in_zone(self, timezone: str | None) -> Settings:
        """The same settings with another time zone, where one is given."""
        return self if timezone is None else self.model_copy(update={"timezone": timezone})

    @property
    def dagster_ui(self) -> str:
        """The address of the deployment's UI, without the password that the one of its GraphQL may hold."""
        scheme, _, rest = self.dagster_graphql_url.removesuffix("/graphql").partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"

    @property
    def home_path(self) -> Path:
        """Absolute path of the data directory."""
        return find_home() if self.home is None else self.home.expanduser().absolute()


def variable_of(field: str) -> str:
    """The environment variable that sets ``field``."""
    return f"CREW_{field.upper()}"


def _variables_of(field: str) -> list[str]:
    """All variables that set ``field``, older names included."""
    alias = Settings.model_fields[field].validation_alias
    return [str(name) for name in alias.choices] if isinstance(alias, AliasChoices) else [variable_of(field)]


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: a value is out of its range; the sentence names the variable, the value and what is allowed.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        place = str(first["loc"][0]) if first["loc"] else "settings"
        variable = place if place.isupper() else variable_of(place)
        allowed = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        raise SettingsError(
            f"{variable}={_shown(variable, first['input'])} cannot be used: expected {allowed}."
        ) from None


def _shown(variable: str, value: object) -> str:
    """A value to be printed; an address may hold a password, so it is hidden."""
    return "(hidden)" if variable.endswith("_URL") else repr(value)


@lru_cache(maxsize=1)
def process_settings() -> Settings:
    """The settings of this process, read once from the environment."""
    return load_settings()


def describe_settings(settings: Settings) -> list[dict[str, str]]:
    """One row per setting: variable, value, default and description, in the order of definition."""
    rows = []
    for name, field in Settings.model_fields.items():
        variable = variable_of(name)
        value = getattr(settings, name)
        rows.append(
            {
                "variable": variable,
                "value": _shown(variable, value) if value is not None else "",
                "default": "" if field.default is None else str(field.default),
                "set": "yes" if any(known in os.environ for known in _variables_of(name)) else "",
                "description": field.description or "",
            }
        )
    return rows
