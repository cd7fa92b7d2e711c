"""Parquet tables, some rows at a time and only the columns that are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from crew_pipeline.discovery.exports import columns as tables
from crew_pipeline.discovery.exports.files import ExportError, Files, Member, why
from crew_pipeline.discovery.exports.found import Found
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_ROWS_AT_ONCE = 64


class _Unreadable:
    """A cell that no value can be made of."""


def check(files: Files, members: Sequence[Member], given: Mapping[str, str]) -> None:
    """Refuse a table that lacks a column.

    Raises:
        ExportError: it does, or cannot be read.
    """
    with _opened(files, members[0]) as table:
        _chosen(table, given, str(files.path))


def read(
    files: Files, members: Sequence[Member], limits: Limits, reading: Reading, given: Mapping[str, str]
) -> Iterator[Found]:
    """The rows of a table as records, numbered from 1.

    Raises:
        ExportError: it cannot be read on.
    """
    member = members[0]
    with _opened(files, member) as table:
        chosen = _chosen(table, given, str(files.path))
        rows = tables.Rows(tables.stem(member.name), limits, reading)
        total = max(table.metadata.num_rows, 1)
        number = 0
        with files.watched(member, lambda: member.size * number // total):
            for batch in table.iter_batches(_ROWS_AT_ONCE, columns=list(chosen.values()), use_threads=False):
                cells = {field: _values(batch.column(column)) for field, column in chosen.items()}
                for row in range(batch.num_rows):
                    number += 1
                    yield from _found(rows, {field: values[row] for field, values in cells.items()}, number)


def _found(rows: tables.Rows, cells: Mapping[str, object], number: int) -> Iterator[Found]:
    broken = [field for field, cell in cells.items() if isinstance(cell, _Unreadable)]
    if broken:
        yield Found(RejectedLineError(f"{' and '.join(broken)} cannot be read; write the table again"), number)
    else:
        yield from rows.found(cells, number)


@contextmanager
def _opened(files: Files, member: Member) -> Iterator[ParquetFile]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(files.local(member), pre_buffer=False) as table:
            yield table
    except (pyarrow.ArrowException, OSError) as error:
        raise ExportError(
            f"{files.path} breaks off or is no Parquet table ({why(error)}); nothing was imported. Get it whole."
        ) from None


def _chosen(table: ParquetFile, given: Mapping[str, str], name: str) -> dict[str, str]:
    import pyarrow

    schema = table.schema_arrow

    def whole(column: str) -> bool:
        places = schema.get_all_field_indices(column)
        return bool(pyarrow.types.is_integer(schema.field(places[0]).type))

    chosen = tables.choose(list(dict.fromkeys(schema.names)), given, whole, name)
    twice = [column for column in chosen.values() if schema.names.count(column) > 1]
    if twice:
        raise ExportError(f"{name} has more than one column {twice[0]!r}; write it with one of them.")
    return chosen


def _values(column: Any) -> list[Any]:
    """The cells of a column as Python has them; times to a microsecond."""
    import pyarrow

    try:
        if pyarrow.types.is_timestamp(column.type):
            column = column.cast(pyarrow.timestamp("us", column.type.tz), safe=False)
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError, KeyError, pyarrow.ArrowException):
        values = [_value(cell) for cell in column]
    return values


def _value(cell: Any) -> Any:
    try:
        return cell.as_py()
    except (ValueError, OverflowError, KeyError):
        return _Unreadable()
