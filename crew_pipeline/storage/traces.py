"""Words wherever they stand: in every column of a database that can hold any, and in the files of the embedded one."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.storage.database import Database


class Trace(NamedTuple):
    """Where words were found: a table's column and in how many of its rows, or a file."""

    place: str
    found: int


_COLUMNS = """
SELECT quote_ident(nspname) || '.' || quote_ident(relname) AS of_table, quote_ident(attname) AS name,
       format_type(atttypid, NULL) AS type
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'p', 'm') AND attnum > 0 AND NOT attisdropped
  AND nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND format_type(atttypid, NULL) ~ '^(text|character|name|json|bytea|xml)'
ORDER BY 1, attnum
"""
# The statistics of the planner hold values of the columns.
_STATISTICS = """
SELECT count(*) FROM pg_stats
WHERE strpos(lower(most_common_vals::text || coalesce(histogram_bounds::text, '')), lower(:words)) > 0
   OR strpos(lower(histogram_bounds::text), lower(:words)) > 0
"""


def in_database(db: Database, words: str) -> list[Trace]:
    """Every column of a database that holds ``words``, in whatever case, with the number of its rows that do."""
    with db.read() as connection:
        return list(_in_columns(connection, words))


def _in_columns(connection: Connection, words: str) -> Iterator[Trace]:
    for column in connection.execute(text(_COLUMNS)).all():
        if column.type == "bytea":
            held = f"position(convert_to(:words, 'UTF8') IN {column.name}) > 0"
        else:
            held = f"strpos(lower({column.name}::text), lower(:words)) > 0"
        count = connection.scalar(
            text(f"SELECT count(*) FROM {column.of_table} WHERE {held}"),  # noqa: S608  names quoted by the server
            {"words": words},
        )
        if count:
            yield Trace(f"{column.of_table}.{column.name}", count)
    statistics = connection.scalar(text(_STATISTICS), {"words": words})
    if statistics:
        yield Trace("pg_statistic", statistics)


def in_files(folder: Path, words: str) -> list[Trace]:
    """Every file below a folder that holds ``words`` as they are; what is compressed in one is not seen."""
    wanted = words.encode()
    found = []
    for path in sorted(folder.rglob("*")):
        try:
            if path.is_file() and path.stat().st_size and _holds(path, wanted):
                found.append(Trace(str(path.relative_to(folder)), 1))
        except OSError:
            continue
    return found


def _holds(path: Path, wanted: bytes) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(wanted) >= 0


def scour(db: Database) -> None:
    """Have an embedded server write its tables anew and drop its log of changes, so that nothing that was deleted is
    left in its files. Waits for whoever uses the tables; only the server's owner may."""
    with db.maintaining() as connection:
        # Once for the tables, once for the statistics that were just taken of them.
        connection.execute(text("VACUUM (FULL, ANALYZE)"))
        connection.execute(text("VACUUM (FULL) pg_catalog.pg_statistic"))
        connection.execute(text("SELECT pg_switch_wal()"))
        connection.execute(text("CHECKPOINT"))
