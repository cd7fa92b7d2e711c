"""What the readers of all formats hand on: a record as the export has it, not yet a line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import NamedTuple, TypeGuard

from crew_pipeline.discovery.records import RejectedLineError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_BELOW = 10**11
_MILLISECONDS_BELOW = 10**14
_MOMENTS_BELOW = 10**17
_MICROSECOND = Decimal(1).scaleb(-6)


class Found(NamedTuple):
    """A record that is considered as a line.

    Attributes:
        record: an object as ``parse_record`` takes it, or why there is none.
        number: line of the file; None where the running number of the record tells more.
        where: conversation or member to be named in a refusal.
        moved: session and position at which the line may have stood in an earlier export.
    """

    record: Mapping[str, object] | RejectedLineError
    number: int | None = None
    where: str = ""
    moved: tuple[tuple[str, int], ...] = ()


def from_epoch(value: int | float | Decimal, name: str = "created_at") -> datetime:
    """A moment from seconds since 1970; from milliseconds where it is ``10^11`` or more, from microseconds from
    ``10^14`` on; exact to a microsecond.

    Raises:
        RejectedLineError: it is no number, or lies beyond any calendar.
    """
    try:
        exact = Decimal(str(value))
        if not exact.is_finite() or abs(exact) >= _MOMENTS_BELOW:
            raise OverflowError
        size = abs(exact)
        seconds = exact if size < _SECONDS_BELOW else exact / 1000 if size < _MILLISECONDS_BELOW else exact / 10**6
        return _EPOCH + timedelta(microseconds=int(seconds.quantize(_MICROSECOND).scaleb(6)))
    except (InvalidOperation, OverflowError):
        shown = str(value)
        raise RejectedLineError(
            f"{name} {shown[:30]} is no moment; write seconds since 1970 or a date and time"
        ) from None


def is_number(value: object) -> TypeGuard[int | float | Decimal]:
    """Whether it is a number (true and false are not)."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
