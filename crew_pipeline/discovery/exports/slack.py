"""Slack exports: a folder per channel with a file per day; names are looked up in the lists beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import ijson

from crew_pipeline.discovery.exports.files import Files, Member
from crew_pipeline.discovery.exports.found import Found, from_epoch
from crew_pipeline.discovery.exports.objects import objects
from crew_pipeline.discovery.exports.slack_text import Names, readable, said_by
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError

_PEOPLE = ("users.json", "org_users.json")
_CHANNELS = ("channels.json", "groups.json", "dms.json", "mpims.json")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\.json")
_STAMP = re.compile(r"\d{1,11}(\.\d{1,6})?")
_MICROSECONDS = 10**6
# All others are housekeeping: joins, leaves, topics, pins, calls, what was deleted.
_SAID = (None, "", "bot_message", "file_share", "file_comment", "me_message", "thread_broadcast", "message_changed")


@dataclass
class _Workspace:
    """Who and what the lists name.

    Attributes:
        names: of people and channels, by their ids.
        titles: of channels, by the names of their folders.
    """

    names: Names = field(default_factory=Names)
    titles: dict[str, str] = field(default_factory=dict)


def members(candidates: Sequence[Member]) -> list[Member]:
    """The lists and the days of a Slack export among files, lists first; none if they are of something else."""
    lists = [member for member in candidates if member.base in _PEOPLE + _CHANNELS]
    roots = sorted({member.name.removesuffix(member.base) for member in lists}, key=len)
    for root in roots:
        days = [member for member in candidates if member.name.startswith(root) and _is_day(member.name[len(root) :])]
        if days:
            beside = [member for member in lists if member.name == root + member.base]
            return sorted(beside, key=lambda member: member.base not in _PEOPLE) + days
    return []


def read(files: Files, members: Sequence[Member], limits: Limits, reading: Reading) -> Iterator[Found]:
    """What people and bots said: a thread is a session of its own, all else one session per channel and day.

    The position of a line is its time stamp in microseconds, so that a larger export of the workspace finds it again.
    """
    workspace = _Workspace()
    for member in members:
        with files.open(member) as content:
            held = objects(content, f"{member.name} of {files.path}")
            if not _DAY.fullmatch(member.base):
                for entry in held:
                    if isinstance(entry, dict):
                        _note(workspace, member.base, entry)
                continue
            channel, day = member.name.split("/")[-2:]
            try:
                for message in held:
                    yield from _line(message, channel, f"{channel}/{day}", workspace, limits, reading)
            except ijson.JSONError:
                yield Found(
                    RejectedLineError("the file is no whole JSON; export that day again"), where=f"{channel}/{day}"
                )


def _is_day(name: str) -> bool:
    channel, _, day = name.partition("/")
    return bool(channel) and _DAY.fullmatch(day) is not None


def _note(workspace: _Workspace, listed: str, entry: Mapping[str, Any]) -> None:
    identity, name = entry.get("id"), entry.get("name")
    if not isinstance(identity, str):
        return
    if listed in _PEOPLE:
        if called := _called(entry):
            workspace.names.people[identity] = called
    elif listed in {"dms.json", "mpims.json"}:
        listed_members = entry.get("members")
        them = [
            workspace.names.person(user)
            for user in (listed_members if isinstance(listed_members, list) else ())
            if isinstance(user, str)
        ]
        workspace.titles[str(name or identity)] = ", ".join(them)
    elif isinstance(name, str):
        workspace.names.channels[identity] = name
        workspace.titles[name] = f"#{name}"


def _called(person: Mapping[str, Any]) -> str | None:
    """The name by which somebody is shown."""
    profile = person.get("profile")
    shown = profile if isinstance(profile, Mapping) else {}
    names = (
        shown.get("display_name"),
        person.get("display_name"),
        shown.get("real_name"),
        person.get("real_name"),
        person.get("name"),
    )
    return next((name for name in names if isinstance(name, str) and name.strip()), None)


def _line(
    message: Mapping[str, Any] | RejectedLineError,
    channel: str,
    where: str,
    workspace: _Workspace,
    limits: Limits,
    reading: Reading,
) -> Iterator[Found]:
    if isinstance(message, RejectedLineError):
        yield Found(message, where=where)
        return
    changed = message.get("message")
    if message.get("subtype") == "message_changed" and isinstance(changed, Mapping):
        message = changed
    if message.get("subtype") not in _SAID or message.get("type", "message") != "message":
        return
    text = said_by(message, reading.left_out)
    if not text.strip():
        return
    try:
        stamp = _microseconds(message.get("ts"))
        moment = from_epoch(Decimal(stamp) / _MICROSECONDS)
        thread = _thread(message, stamp)
    except RejectedLineError as refusal:
        yield Found(refusal, where=where)
        return
    day = f"{channel}/{moment.astimezone(limits.zone).date()}"
    session_id = day if thread is None else f"{channel}/{thread}"
    moved: tuple[tuple[str, int], ...] = ()
    if thread is not None and _microseconds(thread, "thread_ts") == stamp:
        # Before anybody answered, the thread's first message was in its day's session.
        moved = ((day, stamp),)
    if session_id not in reading.titles:
        reading.entitle(session_id, workspace.titles.get(channel))
    record = {
        "session_id": session_id,
        "line": stamp,
        "created_at": moment,
        "speaker": _speaker(message, workspace.names),
        "text": readable(text, workspace.names),
    }
    yield Found(record, where=where, moved=moved)


def _microseconds(stamp: object, name: str = "ts") -> int:
    if not isinstance(stamp, str | float | int | Decimal) or not _STAMP.fullmatch(str(stamp)):
        raise RejectedLineError(f"{name} must be seconds since 1970 like 1736931600.000100, not {str(stamp)[:40]!r}")
    return int(Decimal(str(stamp)) * _MICROSECONDS)


def _thread(message: Mapping[str, Any], stamp: int) -> str | None:
    """The time stamp of the thread that a message is in; a message that nobody answered is in none."""
    thread = message.get("thread_ts")
    if thread is None:
        return None
    has_replies = bool(message.get("reply_count") or message.get("replies"))
    return str(thread) if _microseconds(thread, "thread_ts") != stamp or has_replies else None


def _speaker(message: Mapping[str, Any], names: Names) -> str | None:
    profiles = [message.get(name) for name in ("user_profile", "bot_profile")]
    shown = [_called(profile) for profile in profiles if isinstance(profile, Mapping)]
    user = message.get("user")
    known = names.people.get(user) if isinstance(user, str) else None
    candidates = (message.get("username"), known, *shown, user, message.get("bot_id"))
    return next((name for name in candidates if isinstance(name, str) and name.strip()), None)
