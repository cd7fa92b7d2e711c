"""Sessions of coding agents as they keep them: Claude Code's and Codex' JSON lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crew_pipeline.discovery.exports.columns import Rows
from crew_pipeline.discovery.exports.files import Files, Member, bounded_lines
from crew_pipeline.discovery.exports.found import Found
from crew_pipeline.discovery.exports.jsonl import MAX_LINE_BYTES, parsed
from crew_pipeline.discovery.messages import speaker_and_text
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import LeftOutError, Limits, RejectedLineError

_SPOKEN = ("user", "assistant")
_CODEX_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
# What the programs put into the mouth of the user.
_OWN_WORDS = re.compile(r"<(command-|local-command-|system-reminder|environment_context|user_instructions)")


def read_claude_code(files: Files, members: Sequence[Member], limits: Limits, reading: Reading) -> Iterator[Found]:
    """What user and assistant say in each session; thoughts, results of tools and its own records are left out."""
    for member in members:
        rows = Rows("claude-code", limits, reading)
        for number, record in _records(files, member):
            if isinstance(record, RejectedLineError):
                yield Found(record, number, member.base)
                continue
            session = record.get("sessionId")
            if record.get("type") == "ai-title":
                reading.entitle(session, record.get("aiTitle"))
            elif record.get("type") == "summary":
                reading.entitle(session, record.get("summary"))
            if record.get("type") not in _SPOKEN or record.get("isMeta"):
                reading.leave_out({"records of the program": 1})
                continue
            yield from _said(rows, record.get("message"), session, record.get("timestamp"), number, reading)


def read_codex(files: Files, members: Sequence[Member], limits: Limits, reading: Reading) -> Iterator[Found]:
    """What user and assistant say in each session; what the program does beside is left out."""
    for member in members:
        rows = Rows("codex", limits, reading)
        named = _CODEX_ID.search(member.base)
        session: object = named[0] if named else member.base
        for number, record in _records(files, member):
            if isinstance(record, RejectedLineError):
                yield Found(record, number, member.base)
                continue
            payload = record.get("payload")
            held = payload if isinstance(payload, Mapping) else {}
            if record.get("type") == "session_meta":
                session = held.get("id") or session
            kinds = record.get("type"), held.get("type")
            if kinds != ("response_item", "message") or held.get("role") not in _SPOKEN:
                reading.leave_out({"records of the program": 1})
                continue
            yield from _said(rows, held, session, record.get("timestamp"), number, reading)


def _said(
    rows: Rows, message: object, session: object, moment: object, number: int, reading: Reading
) -> Iterator[Found]:
    left_out: Counter[str] = Counter()
    try:
        speaker, text = speaker_and_text(message, left_out)
    except LeftOutError as passed:
        reading.leave_out(passed.kinds)
        return
    except RejectedLineError as refusal:
        yield Found(refusal, number)
        return
    reading.leave_out(left_out)
    if _OWN_WORDS.match(text):
        reading.leave_out({"records of the program": 1})
        return
    yield from rows.found({"session_id": session, "created_at": moment, "speaker": speaker, "text": text}, number)


def _records(files: Files, member: Member) -> Iterator[tuple[int, dict[str, Any] | RejectedLineError]]:
    with files.open(member) as content:
        for number, line in bounded_lines(content, MAX_LINE_BYTES):
            if line.strip():
                record = parsed(line, number)
                yield number, record if isinstance(record, RejectedLineError | dict) else {}
