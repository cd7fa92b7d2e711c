"""``crew doctor``: is everything as it should be, and what to do where it is not."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from crew_pipeline.commands import console
from crew_pipeline.commands.common import CommandError, JsonOption, in_home, open_store
from crew_pipeline.settings import describe_settings, load_settings


@in_home
def doctor(
    settings_only: Annotated[bool, typer.Option("--settings", help="List every setting.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check database, migrations, model, Dagster, disk and clock; say what to do about each failure."""
    if settings_only:
        _list_settings(as_json=as_json)
        return
    from crew_pipeline.orchestration.instance import described
    from crew_pipeline.upkeep.doctor import examine

    # The user's own database is examined as it is; the embedded one is made when it is first opened.
    with open_store(prepare=not load_settings().database_url) as (settings, databases):
        findings = []
        for finding in examine(settings, databases, lambda: described(settings)):
            findings.append(finding)
            if not as_json:
                mark = "[green]ok[/]  " if finding.ok else "[red]FAIL[/]" if finding.essential else "[yellow]note[/]"
                remedy = f"; {finding.remedy}" if finding.remedy else ""
                console.styled(f"{mark}  {finding.name:<11} {console.shown(finding.found + remedy)}")
    if as_json:
        console.print_json(
            {
                "ok": all(finding.ok or not finding.essential for finding in findings),
                "checks": [asdict(finding) for finding in findings],
            }
        )
    if any(finding.essential and not finding.ok for finding in findings):
        raise CommandError("Something essential is missing; the remedies are above.")


def _list_settings(*, as_json: bool) -> None:
    rows = describe_settings(load_settings())
    if as_json:
        console.print_json({"settings": rows})
        return
    names = ("variable", "value", "default", "description")
    titles = ["variable", "value", "default", "meaning"]
    console.table("", titles, [[row[name] for name in names] for row in rows])
