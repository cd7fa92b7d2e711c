"""A history table as it is: which column tells what, by which key its rows can be read on, and what that will cost.

A row is read by its *key*, a whole number that grows as rows are written: the table's integer id or, where there is
none, the moment of the row in microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Connection,
    DateTime,
    Integer,
    String,
    Text,
    Uuid,
    case,
    cast,
    column,
    inspect,
    literal_column,
    table,
)
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.sql.expression import ColumnElement, TableClause
from sqlalchemy.types import TypeEngine

from crew_pipeline.discovery.frameworks import Framework, plain, recognise
from crew_pipeline.discovery.sources import SourceError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_KEY = 2**63 - 2
_ISO = (
    r"^\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
    r"[T ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-](0\d|1[0-4])(:?[0-5]\d)?)$"
)
"""Moments on the calendar with a zone, which a database can take for what they are; not the 29th of February, which it
may not know. A cast that fails would end the whole statement."""
_NAMES: Mapping[str, Sequence[str]] = {
    "session_id": ("session_id", "session", "conversation_id", "thread_id", "chat_id"),
    "speaker": ("speaker", "role", "sender", "author", "name", "username"),
    "text": ("text", "content", "body", "parts"),
    "message": ("message", "payload", "data"),
    "created_at": (
        "created_at",
        "created_date",
        "timestamp",
        "ts",
        "spoken_at",
        "sent_at",
        "inserted_at",
        "time",
        "date",
    ),
}


@dataclass(frozen=True)
class HistoryTable:
    """A history table that can be read.

    Attributes:
        key: the column by which rows are read on.
        kind: whether the key is an integer ``id`` or a ``time``.
        zoned: for a time as key, whether the column has a time zone.
        message: the column with whole messages as JSON; None where ``speaker`` and ``text`` are columns.
        created_at: None where the table tells no time.
        session_kind: how the column keeps a session's name, which is text everywhere else.
        naive_is_utc: whether times without a zone are UTC and not of the configured zone.
        text_is_json: whether the type of the column ``text`` is JSON.
        key_is_text: whether the times that are the key are kept as texts, in ISO 8601.
        framework: whose table it is; None where nothing tells.
        says_kind: the column that says what a row is, where the framework has one.
        session_indexed, key_indexed: whether an index begins with that column.
        key_unique: whether no two rows can have the same key.
    """

    name: str
    dialect: str
    key: str
    kind: Literal["id", "time"]
    zoned: bool
    session_id: str
    session_kind: Literal["text", "uuid", "integer", "other"]
    message: str | None
    speaker: str | None
    text: str | None
    created_at: str | None
    session_indexed: bool
    key_indexed: bool
    key_unique: bool
    naive_is_utc: bool = False
    text_is_json: bool = False
    key_is_text: bool = False
    framework: Framework | None = None
    says_kind: str | None = None

    @cached_property
    def clause(self) -> TableClause:
        """The table with its columns, as SQLAlchemy quotes them."""
        others = {name for name in self.columns.values() if name not in {self.key, self.session_id}}
        kinds: dict[str, TypeEngine[Any]] = {"uuid": Uuid(), "integer": BigInteger()}
        session = column(self.session_id, kinds.get(self.session_kind))
        return table(self.name, column(self.key, self._key_type), session, *(column(name) for name in sorted(others)))

    @property
    def _key_type(self) -> TypeEngine[Any]:
        if self.key_is_text:
            return Text()
        return BigInteger() if self.kind == "id" else DateTime(timezone=self.zoned)

    @property
    def columns(self) -> dict[str, str]:
        """The columns that are read, by what they tell."""
        named = {
            "key": self.key,
            "session_id": self.session_id,
            "message": self.message,
            "speaker": self.speaker,
            "text": self.text,
            "created_at": self.created_at,
            "kind": self.says_kind,
        }
        return {name: column_name for name, column_name in named.items() if column_name is not None}

    @cached_property
    def key_column(self) -> ColumnElement[Any]:
        """The key's column; SQLite's own row id where that is the key."""
        if self.dialect == "sqlite" and self.key == "rowid":
            return literal_column("rowid", BigInteger())
        if self.key_is_text:
            written = self.clause.c[self.key]
            return cast(case((written.op("~")(_ISO), written)), DateTime(timezone=True))
        return self.clause.c[self.key]

    @cached_property
    def readable(self) -> ColumnElement[bool]:
        """Rows whose key can be read on by: not those of moments without end, or of the last number of 64 bits."""
        if self.kind == "id":
            return self.key_column.between(-_MOST_KEY, _MOST_KEY)
        first, last = (
            moment if self.zoned else moment.replace(tzinfo=None)
            for moment in (_EPOCH, datetime(9000, 1, 1, tzinfo=UTC))
        )
        return self.key_column.between(first, last)

    def of_sessions(self, sessions: Sequence[str]) -> ColumnElement[bool]:
        """The rows of these sessions."""
        named = self.clause.c[self.session_id]
        if self.session_kind == "other":
            return cast(named, Text()).in_(sessions)
        if self.session_kind == "text":
            return named.in_(sessions)
        if self.session_kind == "integer":
            return named.in_([int(session) for session in sessions if session.lstrip("-").isdecimal()])
        return named.in_([uuid for uuid in map(_as_uuid, sessions) if uuid is not None])

    def bound(self, key: int) -> int | datetime:
        """A key as a value to compare the column with."""
        if self.kind == "id":
            return max(-_MOST_KEY - 1, min(key, _MOST_KEY + 1))
        moment = _EPOCH + timedelta(microseconds=key)
        return moment if self.zoned else moment.replace(tzinfo=None)

    def key_of(self, value: Any) -> int:
        """The key in a row's value of the column.

        Raises:
            SourceError: it holds no number or moment.
        """
        if self.kind == "id":
            if isinstance(value, bool) or not isinstance(value, int):
                raise SourceError(f"column {self.key} of {self.name} holds something else than whole numbers.")
            return value
        if not isinstance(value, datetime):
            raise SourceError(f"column {self.key} of {self.name} holds something else than moments.")
        return microseconds(value)

    @property
    def warnings(self) -> list[str]:
        """What makes reading this table slow or its times unsure, each with what to do."""
        warnings = []
        if self.key_is_text:
            warnings.append(
                f"{self.key} keeps times as texts, so every round reads the whole table, and passes over what is not "
                "like 2025-01-15T09:30:00Z"
            )
        elif not self.key_indexed:
            warnings.append(
                f"{self.key} has no index, so every round reads the whole table; "
                f"CREATE INDEX ON {self.name} ({self.key}) makes rounds cost what is new"
            )
        if not self.key_unique and self.kind == "id":
            warnings.append(
                f"nothing keeps {self.key} unique; ALTER TABLE {self.name} ADD PRIMARY KEY ({self.key}) does"
            )
        if self.created_at is None:
            warnings.append("the table tells no time; lines carry the time at which they were first seen")
        return warnings


def _as_uuid(value: str) -> UUID | None:
    try:
        return UUID(value)
    except ValueError:
        return None


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970; a moment without a zone counts as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def examine(connection: Connection, name: str, mapping: Mapping[str, str]) -> HistoryTable:
    """Find out how a history table is to be read.

    Args:
        mapping: column by field, where it is not to be guessed.

    Raises:
        SourceError: it is not there, or lacks a column that it needs.
    """
    inspector = inspect(connection)
    try:
        columns = {reflected["name"]: reflected for reflected in inspector.get_columns(name)}
        primary = inspector.get_pk_constraint(name)["constrained_columns"]
        indexes = inspector.get_indexes(name)
        indexed: list[list[Any]] = [list(primary), *(index["column_names"] for index in indexes if _is_whole(index))]
        unique = [list(primary), *(index["column_names"] for index in indexes if index["unique"])]
    except NoSuchTableError:
        raise SourceError(
            f"the history table {name} is not there; check its name, and that the user may read it."
        ) from None
    missing = sorted(set(mapping.values()) - set(columns))
    if missing:
        raise SourceError(f"{name} has no column {missing[0]}; it has {_listed(columns)}.")
    framework = recognise(columns)
    chosen = {field: mapping.get(field) or _guess(field, columns, framework) for field in _NAMES}
    is_json = chosen["message"] is not None and isinstance(columns[chosen["message"]]["type"], JSON)
    if "message" in mapping or (is_json and not {"speaker", "text"} & set(mapping)):
        chosen |= {"speaker": None, "text": None}
    elif chosen["speaker"] and (chosen["text"] or chosen["message"]):
        chosen |= {"text": chosen["text"] or chosen["message"], "message": None}
    if not chosen["session_id"] or not (chosen["message"] or (chosen["speaker"] and chosen["text"])):
        raise SourceError(
            f"{name} needs a column session_id, and either message or speaker and text; it has {_listed(columns)}. "
            "Name others with --column FIELD=COLUMN."
        )
    key, kind = _key(connection, name, mapping.get("id"), columns, primary, chosen["created_at"])
    leading = {names[0] for names in indexed if names}
    return HistoryTable(
        name=name,
        dialect=connection.dialect.name,
        key=key,
        kind=kind,
        zoned=kind == "time" and (_is_text(columns, key) or bool(getattr(columns[key]["type"], "timezone", False))),
        session_id=chosen["session_id"],
        session_kind=_session_kind(columns[chosen["session_id"]]["type"]),
        message=None if chosen["speaker"] and chosen["text"] else chosen["message"],
        speaker=chosen["speaker"] if chosen["text"] else None,
        text=chosen["text"],
        created_at=chosen["created_at"],
        session_indexed=chosen["session_id"] in leading,
        key_indexed=key in leading or key == "rowid",
        key_unique=key == "rowid" or [key] in unique,
        naive_is_utc=_is_mysql_timestamp(connection, columns, chosen["created_at"]),
        text_is_json=bool(chosen["text"]) and isinstance(columns[str(chosen["text"])]["type"], JSON),
        key_is_text=kind == "time" and _is_text(columns, key),
        framework=framework,
        says_kind=_named(framework.kind, columns) if framework is not None else None,
    )


def _guess(field: str, columns: Mapping[str, ReflectedColumn], framework: Framework | None) -> str | None:
    if framework is not None:
        return _named(framework.columns.get(field), columns)
    return next((found for name in _NAMES[field] if (found := _named(plain(name), columns))), None)


def _named(bare: str | None, columns: Mapping[str, ReflectedColumn]) -> str | None:
    """The column whose plain name this is; the first of several."""
    return next((name for name in sorted(columns) if plain(name) == bare), None)


def _is_text(columns: Mapping[str, ReflectedColumn], name: str) -> bool:
    return name in columns and isinstance(columns[name]["type"], String)


def _key(
    connection: Connection,
    name: str,
    given: str | None,
    columns: Mapping[str, ReflectedColumn],
    primary: Sequence[str],
    created_at: str | None,
) -> tuple[str, Literal["id", "time"]]:
    candidates = [given] if given else ["id", *(primary if len(primary) == 1 else [])]
    for candidate in candidates:
        if candidate in columns and isinstance(columns[candidate]["type"], Integer):
            return candidate, "id"
    if given:
        raise SourceError(f"column {given} of {name} is no whole number; rows can be read on by one only.")
    if connection.dialect.name == "sqlite":
        return "rowid", "id"
    is_read_on = created_at and (
        _is_time(columns[created_at]["type"])
        or (_is_text(columns, created_at) and connection.dialect.name == "postgresql")
    )
    if created_at and is_read_on:
        return created_at, "time"
    raise SourceError(
        f"{name} has neither an integer id nor a column of times to read on by; it has {_listed(columns)}. Give it "
        "one, such as id BIGSERIAL, or name it with --column id=COLUMN."
    )


def _session_kind(kind: TypeEngine[Any]) -> Literal["text", "uuid", "integer", "other"]:
    if isinstance(kind, Integer):
        return "integer"
    return "uuid" if isinstance(kind, Uuid) else "text" if isinstance(kind, String) else "other"


def _is_whole(index: Any) -> bool:
    """Whether an index finds every row: a partial index, or one of ranges, does not."""
    options = index.get("dialect_options", {})
    return not any(options.get(f"{dialect}_where") for dialect in ("postgresql", "sqlite")) and options.get(
        "postgresql_using", "btree"
    ) in {"btree", "hash"}


def _is_mysql_timestamp(connection: Connection, columns: Mapping[str, ReflectedColumn], name: str | None) -> bool:
    """MySQL hands out a TIMESTAMP in the session's zone, which is UTC here, without saying so."""
    return (
        connection.dialect.name in {"mysql", "mariadb"}
        and name is not None
        and type(columns[name]["type"]).__name__.upper() == "TIMESTAMP"
    )


def _is_time(kind: TypeEngine[Any]) -> bool:
    return isinstance(kind, DateTime)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
