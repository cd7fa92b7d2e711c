"""How the results of commands look on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crew_pipeline.commands import console

if TYPE_CHECKING:
    from crew_pipeline.dedup.evaluation import Evaluation, Quality
    from crew_pipeline.storage.conversations.imports import Import


def print_import_report(report: dict[str, Any], most: int = 10, row: str = "line") -> None:
    conversations, lines = report["conversations"], report["lines"]
    kinds = ("read", "new", "changed", "skipped")
    console.table(
        f"{report['client']} / {report['crew']}",
        ["", *(f"{kind}#" for kind in kinds), "rejected#"],
        [
            ["conversations", *(f"{conversations[kind]:,}" for kind in kinds), ""],
            ["lines", *(f"{lines[kind]:,}" for kind in kinds), f"{lines['rejected']:,}"],
        ],
    )
    if report["left_out"]:
        console.say(f"Left out, for it is no talk: {_kinds(report['left_out'])}.")
    if report["lines_withdrawn"]:
        console.say(f"{report['lines_withdrawn']:,} lines that the export has no more were kept aside.")
    if report["stored"]:
        console.say(
            f"In the store now: {report['stored']['conversations']:,} conversations with "
            f"{report['stored']['lines']:,} lines of {report['client']} / {report['crew']}."
        )
    for crew, conversations in report["twins"].items():
        console.note(
            f"{conversations:,} of these conversations are there word for word under crew {crew} too; "
            f"'crew import --undo {report['import_id']}' takes this import back."
        )
    for rejection in report["rejections"][:most]:
        console.note(f"{row} {rejection['line']}: {rejection['reason']}")
    if len(report["rejections"]) > most:
        console.note(f"… and {lines['rejected'] - most:,} more; --json lists them")
    if report["error"]:
        console.note(report["error"])


def print_imports(listed: Sequence[Import]) -> None:
    if not listed:
        console.say("Nothing has been imported yet.")
        return
    console.table(
        "imports",
        ["id#", "when", "crew", "file", "lines"],
        [
            [
                str(one.id),
                f"{one.imported_at:%Y-%m-%d %H:%M}",
                f"{one.client} / {one.crew}",
                one.file,
                "taken back" if one.undone_at else _brought(one),
            ]
            for one in listed
        ],
    )


def _brought(one: Import) -> str:
    counts = {"new": one.lines_new, "changed": one.lines_changed, "taken away": one.lines_withdrawn}
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def _kinds(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in left_out.items())


def print_not_read(left: Sequence[tuple[str, str]], most: int = 20) -> None:
    for name, reason in left[:most]:
        console.note(f"Not read: {name}: {reason}")
    if len(left) > most:
        console.note(f"… and {len(left) - most:,} more files were not read; --json lists them")


def print_processed(report: dict[str, Any]) -> None:
    done = report["processed"]
    every = [*report["failed"], *report["elsewhere"], *done]
    if not every:
        console.say("Nothing to do: every day asked for is ready.")
        return
    first = every[:40]
    _print_table_of_days(first)
    if len(every) > len(first):
        console.say(f"… and {len(every) - len(first)} more")
    console.say(
        f"{len(done)} days processed in {report['seconds']:.1f} s, {report['runs']} Dagster runs, "
        f"{report['unchanged']} days were ready already."
    )


def print_days(days: list[dict[str, Any]], nothing: str) -> None:
    if not days:
        console.say(nothing)
        return
    _print_table_of_days(days)


def _print_table_of_days(days: Sequence[Mapping[str, Any]]) -> None:
    """A row a day, with the lines that are folded away and their share of the characters."""
    counts = ("conversations", "lines", "hidden")
    console.table(
        "",
        ["day", "client", "status", "conversations#", "lines#", "folded#", "of the characters#"],
        [
            [
                *(day[name] for name in ("day", "client", "status")),
                *("" if day[name] is None else f"{day[name]:,}" for name in counts),
                f"{day['hidden_characters'] / day['characters']:.0%}" if day["characters"] else "",
            ]
            for day in days
        ],
    )


def print_overview(overview: dict[str, Any]) -> None:
    console.table(
        "Days",
        ["status", "days#", "conversations#"],
        [[name, figures["days"], figures["conversations"]] for name, figures in overview["by_status"].items()],
    )
    if overview["queue"]:
        console.say("")
        console.table(
            "Next in the queue",
            ["day", "client", "priority#", "conversations#", "lines#"],
            [
                [day["day"], day["client"], day["priority"], day["conversations"], day["lines"]]
                for day in overview["queue"]
            ],
        )
    if overview["last_runs"]:
        console.say("")
        console.table(
            "Last runs",
            ["ended", "day", "client", "outcome", "seconds#"],
            [
                [run["ended_at"], run["day"], run["client"], run["outcome"], run["seconds"]]
                for run in overview["last_runs"]
            ],
        )
    _print_discovery(overview)
    console.say(f"\n{overview['workers']} warm workers alive.")
    if overview["system"]:
        _print_system(overview["system"])
    for name, visits in overview["hit_rate"].items():
        if visits["instant"] is not None:
            console.say(
                f"Visits over {name.replace('_', ' ')}: {visits['instant']:.0%} answered at once "
                f"({visits['hit']:,} hits, {visits['stale']:,} stale, {visits['miss']:,} misses)."
            )
    for alert in overview["alerts"]:
        console.styled(f"[red]alert[/]  {console.shown(alert['message'])}, since {alert['raised_at']:%Y-%m-%d %H:%M}")


def _print_discovery(overview: dict[str, Any]) -> None:
    if overview["discovery"]:
        console.say("")
        console.table(
            "Discovery, over the last day",
            ["crew", "last", "rounds#", "scanned#", "new#", "changed#", "errors#", "in all#"],
            [
                [
                    f"{crew['client']}/{crew['crew']}",
                    f"{crew['last_run']:%m-%d %H:%M}" if crew["last_run"] else "never",
                    *(f"{crew['last_day'][kind]:,}" for kind in ("rounds", "scanned", "created", "changed", "errors")),
                    f"{crew['conversations']:,}",
                ]
                for crew in overview["discovery"]
            ],
        )
        for crew in overview["discovery"]:
            if crew["consecutive_failures"]:
                times = f"failed {crew['consecutive_failures']} times in a row"
                console.note(f"{crew['client']}/{crew['crew']} {times}: {crew['last_error']}")
    for passed in overview["left_out"]:
        console.say(f"Left out of {passed['client']}/{passed['crew']}, for it is no talk: {_kinds(passed['kinds'])}.")


def _print_system(sample: dict[str, Any]) -> None:
    waits = f"{sample['days_waiting']:,} days wait ({sample['conversations_waiting']:,} conversations)"
    if sample["oldest_day"]:
        waits += f", the oldest {sample['oldest_day']}, the longest for {_duration(sample['longest_wait_s'])}"
    daemon = sample["daemon_heartbeat_age_s"]
    heard = "has never been heard of" if daemon is None else f"was heard of {_duration(daemon)} before"
    disk = sample["disk_free_mb"]
    left = f"{sample['memory_free_mb'] / 1e3:,.1f} GB of memory"
    left += "" if disk is None else f" and {disk / 1e3:,.1f} GB of disk"
    console.say("")
    console.table(
        "",
        [f"System, {_duration(sample['age_s'])} ago", ""],
        [
            ["queue", f"{waits}, {sample['days_failed']:,} have failed"],
            ["runs", f"{sample['runs_failed']:,} of {sample['runs_ended']:,} failed in the hour before"],
            ["workers", f"{sample['workers']} alive; Dagster's daemon {heard}"],
            [sample["host"], f"processors {sample['cpu_percent']:.0f}% busy, {left} left"],
        ],
    )


def _duration(seconds: float) -> str:
    """A time span in the largest unit that it holds twice."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def print_evaluation(name: str, folding: str, result: Evaluation) -> None:
    rows: list[tuple[str, Quality]] = [
        (f"engine, {folding} (≥ {result.threshold:.2f})", result.engine),
        ("the same, whoever says them", result.judged),
        (f"cosine ≥ {result.cosine_threshold}, its best", result.cosine),
    ]
    console.table(
        f"{result.pairs:,} pairs of {name}, weighted",
        ["", "precision#", "recall#", "F1#"],
        [[title, quality.precision, quality.recall, quality.f1] for title, quality in rows],
    )
    console.table(
        "\nhow far the probabilities can be taken at their word",
        ["pairs#", "said#", "were#"],
        [[f"{band.pairs:,}", f"{band.said:.2f}", f"{band.were:.2f}"] for band in result.reliability],
    )
