"""Writes the sample of the demo: four crews, five days, people and agents who repeat themselves in their own words.

Three crews are export files, one of them a crew of agents that sends its prompt and its files again and again; the
fourth, chat agents, is a SQLite history table such as agent frameworks write. The output is the same on every run:
`python examples/make_sample.py FOLDER`.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from datetime import datetime, timedelta
from pathlib import Path

Talk = tuple[str, str]

STANDUP: dict[str, list[Talk]] = {
    "2025-01-13T09:30": [
        ("Mara", "Good morning everybody, let's start with the release."),
        ("Jonas", "The release is blocked because the invoice export still times out."),
        ("Mara", "So the export timing out is what blocks the release?"),
        ("Jonas", "Yes, the invoice export timing out is still blocking the release."),
        ("Priya", "I can look into the export timeout this afternoon."),
        ("Tom", "I finished the new onboarding checklist yesterday."),
        ("Priya", "Um, so I can look into the export timeout this afternoon, I think."),
        ("Mara", "Please do not merge anything to main before the export is fixed."),
        ("Tom", "The onboarding checklist is finished since yesterday."),
        ("Mara", "Okay, thanks."),
    ],
    "2025-01-14T09:30": [
        ("Mara", "Morning. Priya, how far is the export?"),
        ("Priya", "The timeout came from a missing index on the invoices table."),
        ("Priya", "So it was a missing index on the invoices table that caused the timeout."),
        ("Jonas", "Is the release still blocked?"),
        ("Priya", "The release is not blocked any more."),
        ("Jonas", "The release is blocked until the tests have passed on staging."),
        ("Mara", "You can merge to main again from now on."),
        ("Tom", "I will present the onboarding checklist on Thursday at 10:30."),
        ("Tom", "I will present the onboarding checklist on Thursday at 11:30."),
        ("Mara", "From now on you can merge to main again."),
    ],
    "2025-01-15T09:30": [
        ("Mara", "Good morning everybody, short one today."),
        ("Jonas", "The release went out last night without any problems."),
        ("Tom", "Great that the release went out last night without problems."),
        ("Priya", "I would like to add an alert for slow exports."),
        ("Mara", "Please write down how the alert for slow exports should work."),
        ("Jonas", "The release went out last night without any problems."),
    ],
    "2025-01-16T09:30": [
        ("Mara", "Good morning everybody."),
        ("Tom", "The onboarding presentation moved to half past eleven."),
        ("Priya", "The alert for slow exports is running on staging."),
        ("Priya", "On staging the alert for slow exports is running now."),
        ("Jonas", "Nothing new from me today."),
    ],
}

SUPPORT: dict[str, list[Talk]] = {
    "2025-01-13T10:05": [
        ("Elif", "Hello, I cannot log in since the update to version 4.2."),
        ("helper", "To reset your password, open Settings, choose Security and click Reset password."),
        ("Elif", "My password is right, the page just stays white after I log in."),
        ("Sam", "Clear the browser cache and reload the page, that fixed it for others."),
        ("Elif", "Thank you so much, that worked!"),
    ],
    "2025-01-13T11:20": [
        ("Noor", "Hi, since the update to version 4.2 I can't log in."),
        ("helper", "To reset your password, open Settings, choose Security and click Reset password."),
        ("Sam", "Please clear your browser cache and reload the page; that has fixed it for others."),
        ("Noor", "That worked, thank you so much!"),
    ],
    "2025-01-13T15:40": [
        ("Ben", "How do I export all invoices of a year?"),
        ("helper", "To export invoices, open Billing, choose the year and click Export."),
        ("Ben", "How can I export all the invoices of one year?"),
        ("helper", "To export invoices, open Billing, choose the year and click Export."),
        ("Ben", "The export stops after about 30 seconds."),
        ("Sam", "We know that the invoice export times out, it will be fixed this week."),
    ],
    "2025-01-14T10:10": [
        ("Lena", "Can I install the desktop app on Windows 10?"),
        ("Sam", "Yes, the desktop app supports Windows 10 and newer."),
        ("Kofi", "Can I install the desktop app on Windows 11?"),
        ("Sam", "Yes, Windows 10 and newer are supported by the desktop app."),
        ("helper", "To install the desktop app, open Downloads and follow the three steps."),
        ("Kofi", "Please enable notifications for my account."),
        ("Kofi", "Please disable notifications for my account."),
    ],
    "2025-01-15T14:00": [
        ("Ben", "The invoice export works again, thanks a lot for the quick fix."),
        ("Noor", "Thanks a lot for the quick fix, the invoice export works again."),
        ("helper", "Did this answer help you? Please rate it from 1 to 5."),
        ("Sam", "Glad to hear that everything works for you now."),
        ("helper", "Did this answer help you? Please rate it from 1 to 5."),
        ("Ben", "👍👍👍"),
    ],
    "2025-01-16T16:30": [
        ("Mei", "请问怎么导出一年的发票?"),
        ("helper", "To export invoices, open Billing, choose the year and click Export."),
        ("Mei", "请问怎样导出一年的发票?"),
        ("Sam", "You find it under Billing, then Export."),
    ],
}

AGENTS: dict[str, list[Talk]] = {
    "2025-01-13T03:00": [
        ("user", "Summarise the support tickets of last night."),
        ("ai", "Checking the ticket queue for new messages."),
        ("tool", "3 tickets found, 2 about login, 1 about export."),
        ("ai", "Two customers cannot log in since the update and one export timed out."),
        ("ai", "Checking the ticket queue for new messages."),
    ],
    "2025-01-13T15:00": [
        ("user", "Summarise the support tickets of this morning."),
        ("ai", "Checking the ticket queue for new messages."),
        ("tool", "5 tickets found, 4 about login, 1 about export."),
        ("ai", "Four customers cannot log in since the update and one export timed out."),
    ],
    "2025-01-14T03:00": [
        ("user", "Please summarise last night's support tickets."),
        ("ai", "Checking the ticket queue for new messages."),
        ("tool", "0 tickets found."),
        ("ai", "There were no new support tickets last night."),
        ("ai", "No new support tickets came in last night."),
    ],
    "2025-01-15T03:00": [
        ("user", "Summarise the support tickets of last night."),
        ("ai", "Checking the ticket queue for new messages."),
        ("tool", "0 tickets found."),
        ("ai", "There were no new support tickets last night."),
    ],
    "2025-01-16T03:00": [
        ("user", "Summarise the support tickets of last night."),
        ("ai", "Checking the ticket queue for new messages."),
        ("tool", "1 ticket found, about invoices."),
        ("ai", "One customer asked in Chinese how to export invoices."),
        ("ai", "One customer asked how to export invoices, in Chinese."),
    ],
}

_TASK = "Write a small program that renames the photos of a folder by the day on which they were taken."
_COMPANY = (
    """We are a workshop of agents that builds small tools for people who are not programmers.
We share one aim: the task below is done simply, is tried before it is handed over, and loses nobody's files.
Here is the task of our customer: """
    + _TASK
)
_ROLES = {
    "Planner": """You are the planner. You decide what the tool does and what it leaves out.
You answer in at most three sentences and never write code.
When a decision is made, end with one line that begins with DECIDED.""",
    "Programmer": """You are the programmer. You write plain Python that runs without installing anything.
You send every file whole, each in a block of its own, so that the others can run it as it is.
When nothing is left to change, end with one line that begins with DONE.""",
    "Reviewer": """You are the reviewer. You run what you are sent and look for what could destroy a file.
You name one fault at a time, the worst first, and say how to mend it.
When you find none, end with one line that begins with PASSED.""",
}
_FILE = """import datetime
import pathlib
import sys


def name_of(photo):
    taken = datetime.date.fromtimestamp(photo.stat().st_mtime)
    return f"{taken.isoformat()}-{photo.name}"


def rename_all(folder):
    count = 0
    for photo in sorted(folder.glob("*.jpg")):
        photo.rename(photo.with_name(name_of(photo)))
        count = count + 1
    return count


if __name__ == "__main__":
    print(rename_all(pathlib.Path(sys.argv[1])), "photos renamed")
"""
_SECOND_FILE = _FILE.replace(
    "        photo.rename(photo.with_name(name_of(photo)))\n        count = count + 1\n",
    "        target = photo.with_name(name_of(photo))\n        if target.exists():\n            continue\n"
    "        photo.rename(target)\n        count = count + 1\n",
)
_THIRD_FILE = _SECOND_FILE.replace(
    '    return f"{taken.isoformat()}-{photo.name}"',
    '    day = taken.isoformat()\n    return photo.name if photo.name.startswith(day) else f"{day}-{photo.name}"',
)


def _turn(role: str, words: str) -> Talk:
    """A message as such crews write it: what all are told, what the role is told, and at its end what is new."""
    return role, f"{_COMPANY}\n{_ROLES[role]}\n\n{words}"


def _file(words: str, content: str) -> str:
    return f"{words}\n\nrename_photos.py\n```python\n{content}```"


BUILDERS: dict[str, list[Talk]] = {
    "2025-01-17T21:00": [
        ("customer", _TASK),
        _turn("Planner", "The day is put before the old name, so that photos sort by it and nothing is forgotten."),
        _turn("Programmer", "Shall photos in folders below be renamed too?"),
        _turn("Planner", "No, only those of the folder itself.\nDECIDED: one folder, the day before the old name."),
        _turn("Programmer", _file("Here is the first version.", _FILE)),
        _turn("Reviewer", "If a photo of the new name is there already, it is overwritten. Leave such a photo alone."),
        _turn("Programmer", _file("It leaves such a photo alone now.", _SECOND_FILE)),
        _turn("Reviewer", "Run twice, it puts the day before the name twice. Leave out names that begin with it."),
        _turn("Programmer", _file("A name that begins with the day stays as it is.", _THIRD_FILE)),
        _turn("Reviewer", _file("I ran this twice over 40 photos, and none was lost.", _THIRD_FILE) + "\nPASSED"),
        _turn("Programmer", _file("Then this is what we hand over.", _THIRD_FILE) + "\nDONE"),
    ],
}

_PAUSE = timedelta(seconds=40)


def write_export(path: Path, name: str, sessions: dict[str, list[Talk]]) -> None:
    """Write sessions as JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        for begin, lines in sorted(sessions.items()):
            start = datetime.fromisoformat(f"{begin}+00:00")
            for number, (speaker, text) in enumerate(lines):
                moment = (start + number * _PAUSE).isoformat().replace("+00:00", "Z")
                record = {
                    "session_id": f"{name}-{begin[:13]}",
                    "line": number,
                    "created_at": moment,
                    "speaker": speaker,
                    "text": text,
                }
                file.write(json.dumps(record, ensure_ascii=False) + "\n")


def write_history(path: Path, sessions: dict[str, list[Talk]]) -> None:
    """Write sessions as a SQLite history table."""
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE agent_histories (id INTEGER PRIMARY KEY, session_id TEXT, message TEXT, created_at TEXT)"
        )
        for begin, lines in sorted(sessions.items()):
            start = datetime.fromisoformat(f"{begin}+00:00")
            for number, (role, content) in enumerate(lines):
                message = json.dumps({"role": role, "content": content})
                moment = (start + number * _PAUSE).isoformat()
                connection.execute(
                    "INSERT INTO agent_histories (session_id, message, created_at) VALUES (?, ?, ?)",
                    (f"nightly-{begin[:13]}", message, moment),
                )


def main(folder: Path) -> None:
    """Write all four sources into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_export(folder / "standup.jsonl", "standup", STANDUP)
    write_export(folder / "support.jsonl", "support", SUPPORT)
    write_export(folder / "builders.jsonl", "builders", BUILDERS)
    write_history(folder / "agents.sqlite", AGENTS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
