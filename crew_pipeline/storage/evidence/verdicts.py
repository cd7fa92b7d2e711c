"""What visitors say of pairs of lines and of what stands in messages: stored for ever, honoured wherever that stands
in a client's day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, text

from crew_pipeline.dedup.feedback import Feedback
from crew_pipeline.model import ClientDay

Verdict = Literal["same", "different", "show", "hide"]
"""Of two lines; of a passage, which is always shown; of a standing text, which is left out where it is visible."""


class Said(NamedTuple):
    """A visitor's verdict; ``id`` counts the client's."""

    id: int
    client: str
    verdict: Verdict
    left_text: str
    right_text: str
    left_speaker: str
    right_speaker: str
    day: date
    created_at: datetime
    undone_at: datetime | None


class Side(NamedTuple):
    """One of the two lines of a verdict: its text's hash, its text and its speaker."""

    text_hash: bytes
    text: str
    speaker: str


_COLUMNS = "number, client, verdict, left_text, right_text, left_speaker, right_speaker, day, created_at, undone_at"


def say(
    connection: Connection,
    client_day: ClientDay,
    verdict: Verdict,
    left: Side,
    right: Side,
    passages: Sequence[bytes] = (),
) -> int:
    """Store a verdict; a later one on the same texts takes the place of an earlier one.

    Args:
        left, right: the lines; one and the same where it is about a passage or a standing text.
        passages: the hashes of those that it is about.

    Returns:
        The id by which it can be undone; where the same verdict is in force already, the id of that one.
    """
    left, right = sorted((left, right))
    values = {
        "client": client_day.client,
        "day": client_day.day,
        "verdict": verdict,
        "left": left.text_hash,
        "right": right.text_hash,
        "left_text": left.text,
        "right_text": right.text,
        "left_speaker": left.speaker,
        "right_speaker": right.speaker,
        "passages": list(passages),
    }
    # Two visitors may speak of one pair at once.
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('pair_feedback ' || :client, 0))"), values)
    there: int | None = connection.scalar(
        text(
            "SELECT number FROM pair_feedback WHERE client = :client AND left_hash = :left AND right_hash = :right "
            "AND verdict = :verdict AND undone_at IS NULL"
        ),
        values,
    )
    if there is not None:
        return there
    connection.execute(
        text(
            "UPDATE pair_feedback SET undone_at = now() WHERE client = :client AND left_hash = :left "
            "AND right_hash = :right AND undone_at IS NULL"
        ),
        values,
    )
    made = connection.scalar(
        text(
            "INSERT INTO pair_feedback (client, day, verdict, left_hash, right_hash, left_text, right_text, "
            "left_speaker, right_speaker, passages) VALUES (:client, :day, :verdict, :left, :right, :left_text, "
            ":right_text, :left_speaker, :right_speaker, CAST(:passages AS bytea[])) RETURNING number"
        ),
        values,
    )
    assert isinstance(made, int)
    return made


class Undone(NamedTuple):
    """A verdict that was taken back: what it said, on which day, and the hashes of its texts."""

    verdict: Verdict
    day: date
    texts: tuple[bytes, bytes]


def undo(connection: Connection, client: str, feedback_id: int) -> Undone | None:
    """Take a verdict back; None where no such verdict is in force."""
    row = connection.execute(
        text(
            "UPDATE pair_feedback SET undone_at = now() WHERE client = :client AND number = :id AND undone_at IS NULL "
            "RETURNING verdict, day, left_hash, right_hash"
        ),
        {"client": client, "id": feedback_id},
    ).one_or_none()
    return None if row is None else Undone(row.verdict, row.day, (row.left_hash, row.right_hash))


def in_force(connection: Connection, client: str) -> Feedback:
    """What a client's visitors have said, the latest first."""
    rows = connection.execute(
        text(
            "SELECT verdict, left_hash, right_hash, passages FROM pair_feedback "
            "WHERE client = :client AND undone_at IS NULL ORDER BY id DESC"
        ),
        {"client": client},
    ).all()
    pairs = [(row.verdict, Feedback.key(row.left_hash, row.right_hash)) for row in rows]
    return Feedback(
        same=tuple(pair for verdict, pair in pairs if verdict == "same"),
        different=tuple(pair for verdict, pair in pairs if verdict == "different"),
        shown=frozenset(passage for row in rows if row.verdict == "show" for passage in row.passages),
        hidden=frozenset(passage for row in rows if row.verdict == "hide" for passage in row.passages),
    )


# What a client's visitors and settings ask for: changes with every verdict, undoing and operating point.
_WISHES = """
SELECT (SELECT coalesce(max(id), 0) || ' ' || count(undone_at) FROM pair_feedback WHERE client = :client) || ' '
    || coalesce((SELECT folding FROM clients WHERE client = :client), '')
"""


def remember(connection: Connection, client_day: ClientDay, token: str) -> None:
    """Note in the claim which wishes the day is folded by; to be called before they are read."""
    connection.execute(
        text(
            f"UPDATE day_claims SET wishes = ({_WISHES}) "  # noqa: S608  a constant
            "WHERE client = :client AND day = :day AND token = :token AND ended_at IS NULL"
        ),
        {"client": client_day.client, "day": client_day.day, "token": token},
    )


def changed_since(connection: Connection, client_day: ClientDay, token: str) -> bool:
    """Whether visitors or settings ask for something else than when ``token`` folded the day."""
    return bool(
        connection.scalar(
            text(
                f"SELECT wishes IS DISTINCT FROM ({_WISHES}) FROM day_claims "  # noqa: S608  a constant
                "WHERE client = :client AND day = :day AND token = :token"
            ),
            {"client": client_day.client, "day": client_day.day, "token": token},
        )
    )


def list_all(connection: Connection, client: str, *, with_undone: bool = False) -> list[Said]:
    """The verdicts on a client's lines, oldest first."""
    rows = connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM pair_feedback "  # noqa: S608  a constant
            "WHERE client = :client AND (:undone OR undone_at IS NULL) ORDER BY id"
        ),
        {"client": client, "undone": with_undone},
    )
    return [Said(*row) for row in rows]


def labelled_pairs(connection: Connection, client: str) -> list[dict[str, Any]]:
    """The verdicts in force as labelled pairs, oldest first; which standing text is left out is no such judgement."""
    return [
        {
            "corpus": said.client,
            "day": said.day,
            "a": {"speaker": said.left_speaker, "text": said.left_text},
            "b": {"speaker": said.right_speaker, "text": said.right_text},
            "duplicate": said.verdict == "same",
            "weight": 1.0,
            **({"passage": True} if said.verdict == "show" else {}),
        }
        for said in list_all(connection, client)
        if said.verdict != "hide"
    ]
