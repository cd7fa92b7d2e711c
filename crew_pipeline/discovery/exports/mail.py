"""Mail: mailboxes (mbox, as Google Takeout, Thunderbird and Apple Mail write them) and single messages (EML).

A thread is a conversation, a message a line. What a reply quotes of others and signatures are cut off and counted: the
message that is quoted has its own line.
"""

from __future__ import annotations

import email
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.utils import parseaddr, parsedate_to_datetime
from itertools import islice
from typing import IO

from bs4 import BeautifulSoup
from cachetools import LRUCache

from crew_pipeline.discovery.exports.columns import Rows
from crew_pipeline.discovery.exports.files import Files, Member, bounded_lines
from crew_pipeline.discovery.exports.found import Found
from crew_pipeline.discovery.reading import Reading
from crew_pipeline.discovery.records import Limits, RejectedLineError

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Of a longer message only the beginning is read: what is said stands before what is attached."""
_MAX_LINE_BYTES = 64 * 1024
_MOST_PARTS = 200
_MESSAGES_REMEMBERED = 200_000
_MAX_HTML_CHARS = 1_000_000
_MAX_HEADER_CHARS = 32 * 1024
"""Of the headers of a message, and of each of its parts: what is longer is hostile, and slow to take apart."""
_SLOW_CHARSETS = ("punycode", "idna")
"""Not for whole texts, and slower than linear in them."""
_SEPARATOR = re.compile(rb"From \S+ .*\d\d:\d\d.*\d{4}")
_MEDIA = {"image": "images", "audio": "recordings", "video": "recordings"}

_NAMED = re.compile(r"\.(eml|mbox)(\.gz)?$", re.IGNORECASE)
_HEADER = re.compile(rb"[!-9;-~]{1,76}:[ \t]")
_TELLING = re.compile(rb"^(from|date|received|message-id|subject|x-gm-thrid):", re.IGNORECASE | re.MULTILINE)
_MOST_TELLING = 2
_ID = re.compile(r"<[^<>\s]{1,250}>")
_REPLY = re.compile(r"^\s*((re|fwd?|aw|wg|sv|tr|rv|antw|vs)\s*(\[\d+\])?:\s*)+", re.IGNORECASE)
_ATTRIBUTION = re.compile(
    r"[^\n]{0,200}(wrote|schrieb|écrit|escribió|scrisse|ha scritto|schreef|escreveu|skrev)\b[^\n]{0,200}:"
)
_FORWARDED = re.compile(
    r"-{2,}\s?(original message|forwarded message|ursprüngliche nachricht|message d'origine)\s?-{2,}"
)
_OUTLOOK = re.compile(r"\*?(from|von|de|da|van|från):\*? \S")
_SENT = re.compile(r"\*?(sent|date|gesendet|datum|envoyé|enviado|inviato|verzonden|skickat):\*? \S")
_ROWS_BETWEEN = 3


def is_named_one(member: Member) -> bool:
    """Whether a file's name says that it holds mail."""
    return _NAMED.search(member.base) is not None


def looks_like_one(head: bytes) -> bool:
    """Whether a file's beginning is a mailbox or a message."""
    rows = head.lstrip(b"\xef\xbb\xbf\r\n").replace(b"\r\n", b"\n")
    if rows.startswith(b"From "):
        rows = rows.partition(b"\n")[2]
    elif not _HEADER.match(rows):
        return False
    headers = rows.partition(b"\n\n")[0]
    return len({match.lower() for match in _TELLING.findall(headers)}) >= _MOST_TELLING


def read(files: Files, members: Sequence[Member], limits: Limits, reading: Reading) -> Iterator[Found]:
    """What was written, a message a line, in the threads that the messages name; a message is read once."""
    threads = _Threads()
    rows = Rows("mail", limits, reading)
    for member in members:
        with files.open(member) as content:
            for number, raw in _messages(content):
                try:
                    yield from _found(email.message_from_bytes(raw), number, threads, rows, reading)
                except (MessageError, LookupError, ValueError, RecursionError, AttributeError, TypeError):
                    yield Found(RejectedLineError("the message is malformed"), number, member.base)


def _messages(content: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The messages of a mailbox, or the only one, with the line at which each begins."""
    held: list[bytes] = []
    size, start, blank, is_box = 0, 1, True, False
    for number, line in bounded_lines(content, _MAX_LINE_BYTES):
        if blank and _SEPARATOR.match(line) and (is_box or not held):
            if held:
                yield start, b"".join(held)
            held, size, start, is_box, blank = [], 0, number, True, False
            continue
        blank = not line.strip()
        if not (blank and not held) and size < MAX_MESSAGE_BYTES:
            row = re.sub(rb"^>(>*From )", rb"\1", line) if is_box else line
            held.append(row if row.endswith(b"\n") else row + b"\n")  # one that was cut does not run into the next
            size += len(line)
    if held:
        yield start, b"".join(held)


def _found(message: Message, number: int, threads: _Threads, rows: Rows, reading: Reading) -> Iterator[Found]:
    _refuse_long_headers(message)
    own = _header(message, "Message-ID").strip()
    if own and threads.knows(own):
        reading.leave_out({"copies of messages": 1})
        return
    thread = threads.of(own or f"line {number}", message)
    moment = _moment(message)
    if moment is None:
        yield Found(RejectedLineError("the message has no date that can be read"), number)
        return
    left_out: Counter[str] = Counter()
    text = without_quotes(_body(message, left_out), left_out)
    reading.leave_out(left_out)
    title = _REPLY.sub("", " ".join(_header(message, "Subject").split()))
    name, address = parseaddr(_header(message, "From"))
    cells = {
        "session_id": thread,
        "created_at": moment,
        "speaker": " ".join(name.split()) or address or "Unknown",
        "text": text,
        "title": title,
    }
    yield from rows.found(cells, number)


class _Threads:
    """Which thread a message belongs to: the one that it names, else that of the message that it answers."""

    def __init__(self) -> None:
        self._first: LRUCache[str, str] = LRUCache(_MESSAGES_REMEMBERED)

    def knows(self, message_id: str) -> bool:
        """Whether the message has been read."""
        return message_id in self._first

    def of(self, message_id: str, message: Message) -> str:
        """The name of the thread; the message is remembered in it."""
        before = _ID.findall(_header(message, "References")) or _ID.findall(_header(message, "In-Reply-To"))[:1]
        answered = next((self._first[one] for one in reversed(before) if one in self._first), None)
        named = _header(message, "X-GM-THRID").strip() or answered or (before[0] if before else message_id)
        self._first[message_id] = named.strip("<>")[:500]
        return self._first[message_id]


def _header(message: Message, name: str) -> str:
    """A header's words, decoded as far as they can be."""
    value = message.get(name)
    if value is None:
        return ""
    try:
        decoded = [
            part.decode(_charset(charset), "replace") if isinstance(part, bytes) else part
            for part, charset in decode_header(str(value))
        ]
    except (LookupError, ValueError, MessageError):
        return str(value)
    return "".join(decoded).replace("\x00", "")


def _charset(named: str | None) -> str:
    return "utf-8" if named is None or named.lower() in _SLOW_CHARSETS else named


def _refuse_long_headers(part: Message) -> None:
    """Raises:
    MessageError: the headers are longer than any that programs write.
    """
    if sum(len(name) + len(str(value)) for name, value in part.raw_items()) > _MAX_HEADER_CHARS:
        raise MessageError


def _moment(message: Message) -> datetime | None:
    """When it was written, else when it was received first."""
    received = [str(value).rpartition(";")[2] for value in message.get_all("Received", [])]
    for written in (_header(message, "Date"), *reversed(received)):
        try:
            moment = parsedate_to_datetime(written.strip())
            # Without a zone it is UTC, which is what -0000 says.
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _body(message: Message, left_out: Counter[str]) -> str:
    """What is said: the first plain text, else the first HTML as text; what is attached is counted."""
    plain = rich = None
    for part in islice(message.walk(), _MOST_PARTS):
        _refuse_long_headers(part)
        if part.is_multipart():
            continue
        kind = part.get_content_type()
        if part.get_content_disposition() == "attachment" or part.get_filename() or not kind.startswith("text/"):
            left_out[_MEDIA.get(kind.partition("/")[0], "files")] += 1
        elif kind == "text/html":
            rich = rich or part
        else:
            plain = plain or part
    if plain is not None and (said := _decoded(plain).strip()):
        return said
    return _text_of_html(_decoded(rich)) if rich is not None else ""


def _decoded(part: Message) -> str:
    payload = part.get_payload(decode=True)
    raw = payload if isinstance(payload, bytes) else b""
    try:
        said = raw.decode(_charset(part.get_content_charset()), "replace")
    except LookupError:
        said = raw.decode("utf-8", "replace")
    return said.replace("\x00", "").replace("\r\n", "\n")


def _text_of_html(html: str) -> str:
    soup = BeautifulSoup(html[:_MAX_HTML_CHARS], "html.parser")
    for unseen in soup(["script", "style", "head"]):
        unseen.decompose()
    for quoted in soup("blockquote"):
        if not quoted.decomposed:
            quoted.insert_before("\n>\n")
            quoted.decompose()
    rows = (" ".join(row.split()) for row in soup.get_text("\n").splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(rows)).strip()


def without_quotes(text: str, left_out: Counter[str]) -> str:
    """What a message says itself: without quoted rows, what follows "Original Message", and its signature.

    The time it takes is linear in the text, whatever it holds.

    Args:
        left_out: what is cut off is counted here, by kind.
    """
    rows = text.split("\n")
    kept: list[str] = []
    for place, row in enumerate(rows):
        bare = row.strip()
        if row.startswith(">"):
            left_out["quoted rows"] += 1 + _drop_attribution(kept)
            continue
        if row.rstrip("\n") in ("-- ", "--") and place:
            left_out["signatures"] += 1
            if quoted := sum(one.startswith(">") for one in rows[place + 1 :]):
                left_out["quoted rows"] += quoted
            break
        if _begins_quote(bare, rows, place):
            left_out["quoted rows"] += len(rows) - place
            break
        kept.append(row.rstrip())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


def _begins_quote(bare: str, rows: Sequence[str], place: int) -> bool:
    """Whether all from here on is a message that is quoted whole, as Outlook does."""
    lowered = bare[:200].lower()
    if _FORWARDED.match(lowered):
        return True
    return bool(_OUTLOOK.match(lowered)) and any(
        _SENT.match(row.strip()[:200].lower()) for row in rows[place + 1 : place + 1 + _ROWS_BETWEEN]
    )


def _drop_attribution(kept: list[str]) -> int:
    """Take "On … wrote:" off the end of what is kept, which may be wrapped into two rows, and say how many it took."""
    while kept and not kept[-1].strip():
        kept.pop()
    if not kept or not kept[-1].endswith(":"):
        return 0
    is_wrapped = len(kept) > 1 and re.search(r"\d", kept[-2]) is not None and not re.search(r"\d", kept[-1])
    for count in (2, 1) if is_wrapped else (1,):
        joined = " ".join(row.strip() for row in kept[-count:])
        if _ATTRIBUTION.fullmatch(joined[:450].lower()):
            del kept[-count:]
            return count
    return 0
