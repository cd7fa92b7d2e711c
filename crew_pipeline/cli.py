"""The ``crew`` command. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from crew_pipeline.commands import clients, console, crews, discover, feedback, label, rendering, status, tokens
from crew_pipeline.commands.common import (
    DEFAULT_CLIENT,
    AnyClientOption,
    ClientOption,
    ColumnOption,
    CommandError,
    HomeOption,
    JsonOption,
    columns_of,
    day_named,
    open_store,
)
from crew_pipeline.settings import Settings, SettingsError, describe_settings, load_settings

if TYPE_CHECKING:
    from crew_pipeline.storage.opening import Databases

app = typer.Typer(
    help="Clean Up Crew: days of conversation with the repeats folded away; nothing lost, every fold explained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(tokens.app, name="token")
app.add_typer(crews.app, name="crews")
app.add_typer(clients.app, name="clients")
app.add_typer(feedback.app, name="feedback")
app.command("label")(label.label)
app.command("discover")(discover.discover)
app.command("status")(status.status)
app.command("retry")(status.retry)

FileFormat = Literal["auto", "jsonl", "limitless", "chatgpt", "claude", "slack", "csv", "parquet"]


@app.command("up")
def up(
    host: Annotated[str, typer.Option(help="Address of the API.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the API.", min=1, max=65535)] = 8000,
    dagster_port: Annotated[int, typer.Option(help="Port of the Dagster UI.", min=1, max=65535)] = 3000,
    data_dir: HomeOption = None,
) -> None:
    """Start everything on this machine: database, Dagster, warm worker, API. Ctrl-C stops all of it."""
    from crew_pipeline.api.access import refuse_exposed
    from crew_pipeline.orchestration.instance import dagster_instance, prepare_home
    from crew_pipeline.processes.everything import Addresses, children
    from crew_pipeline.processes.pool import READY_WITHIN_S, environment, grace_s
    from crew_pipeline.processes.supervisor import Supervisor

    supervisor = Supervisor()
    supervisor.stop_on_signals()
    with open_store(data_dir) as (settings, databases):
        refuse_exposed(databases.db, host)
        _refuse_taken_port(host, port)
        _refuse_taken_port("127.0.0.1", dagster_port)
        home = prepare_home(settings)
        # Made here once: the processes would otherwise race to create Dagster's tables.
        with dagster_instance(home) as instance:
            instance.get_runs_count()
        addresses = Addresses(host, port, dagster_port)
        variables = environment(settings, databases, home, settings.workers)
        variables.setdefault("CREW_DAGSTER_GRAPHQL_URL", f"{addresses.dagster}/graphql")
        processes = children(settings, databases, addresses)
        supervisor.watch(processes, variables, databases.revive, grace_s(settings))
        try:
            console.say("Starting database, worker, API and Dagster…")
            if supervisor.start(READY_WITHIN_S, lambda name: console.say(f"  {name} is ready")):
                console.say(f"\nThe day page and API   {addresses.api}   (docs: {addresses.api}/docs)")
                console.say(f"The Dagster UI         {addresses.dagster}")
                console.say(f"\n{_next_discovery(settings)}")
                console.say(f"Data and logs are in {settings.home_path}. Ctrl-C stops everything.")
                supervisor.run()
        finally:
            console.say("Stopping…")
            supervisor.stop()


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="The export: a file, a ZIP archive or a folder.")],
    client: ClientOption = DEFAULT_CLIENT,
    crew: Annotated[str, typer.Option(help="Under which crew the conversations are kept.")] = "import",
    file_format: Annotated[FileFormat, typer.Option("--format", help="Format of the export.")] = "auto",
    column: ColumnOption = None,
    as_json: JsonOption = False,
    data_dir: HomeOption = None,
) -> None:
    """Import an export. Importing it twice changes nothing."""
    from crew_pipeline.discovery.exports.export import open_export
    from crew_pipeline.discovery.importing import import_file

    columns = columns_of(column)
    export = open_export(file, file_format, columns)
    with open_store(data_dir) as (settings, databases):
        with console.progress(f"importing {file.name}", export.size, quiet=as_json) as advance:
            report = import_file(
                databases.db,
                file,
                client=client,
                crew=crew,
                settings=settings,
                now=datetime.now(UTC),
                file_format=file_format,
                columns=columns,
                on_progress=advance,
            )
        if as_json:
            console.print_json({"file": str(file), **report.as_dict()})
        else:
            rendering.print_import_report(report.as_dict())
        if not report.reading.lines_read:
            raise CommandError(f"{file.name} holds no lines; nothing was imported.")
        if report.reading.lines_read == report.rejected:
            raise CommandError(
                f"Not one of the {report.rejected} lines of {file.name} could be imported; correct them and try again."
            )


@app.command("process")
def process(
    day: Annotated[str | None, typer.Argument(help="YYYY-MM-DD, today, yesterday or latest.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="First day.", metavar="DAY")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day.", metavar="DAY")] = None,
    pending: Annotated[bool, typer.Option(help="Every day that is not ready.")] = False,
    client: AnyClientOption = None,
    force: Annotated[bool, typer.Option(help="Also days that are ready.")] = False,
    max_days: Annotated[int | None, typer.Option(help="At most so many days, the newest.", min=1)] = None,
    as_json: JsonOption = False,
    data_dir: HomeOption = None,
) -> None:
    """Materialize days now, through Dagster: one day, a range, or all that are not ready."""
    if (day is not None) + (first is not None or last is not None) + pending != 1:
        raise typer.BadParameter("give a DAY, or --from and --to, or --pending")
    if force and pending:
        raise typer.BadParameter("--force goes with a DAY or with --from and --to")
    from crew_pipeline.orchestration.bulk import process_days

    with open_store(data_dir) as (settings, databases):
        span = None if pending else _span(databases, settings, day, first, last, client)
        report = process_days(settings, databases, span, client=client, force=force, max_days=max_days, quiet=as_json)
    if as_json:
        console.print_json(report.as_dict())
    else:
        rendering.print_processed(report.as_dict())
    if report.elsewhere:
        console.note(
            f"{len(report.elsewhere)} days are not ready: another run is at work on them, or they changed meanwhile; "
            "'crew status' shows them."
        )
    if report.failed:
        raise CommandError(
            f"{len(report.failed)} days failed; 'crew status DAY' says why, the Dagster UI has the logs."
        )


@app.command("day")
def show_day(
    day: Annotated[str, typer.Argument(help="YYYY-MM-DD, today, yesterday or latest.")],
    client: ClientOption = DEFAULT_CLIENT,
    full: Annotated[bool, typer.Option("--full", help="Every line in its place, hidden ones marked.")] = False,
    only_folds: Annotated[bool, typer.Option("--folds", help="Only lines that stand for others.")] = False,
    as_json: JsonOption = False,
    data_dir: HomeOption = None,
) -> None:
    """Show a deduplicated day: what is visible, what is folded under it, and why."""
    from crew_pipeline.days.reading import read_day

    with open_store(data_dir) as (settings, databases):
        wanted = day_named(day, settings, databases, client)
        answer = read_day(databases.db, settings, wanted, client, full=full)
    if as_json:
        console.print_json(answer)
    else:
        rendering.print_day(wanted, client, answer, only_folds=only_folds)


@app.command("evaluate")
def evaluate(
    pairs: Annotated[Path, typer.Argument(help="Labelled pairs (JSONL).")],
    folding: Annotated[
        Literal["strict", "balanced", "loose"] | None, typer.Option(help="Another operating point.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge labelled pairs with the engine, beside bare cosine similarity at its best threshold."""
    from crew_pipeline.dedup.config import EngineConfig
    from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
    from crew_pipeline.dedup.evaluation import evaluate as run
    from crew_pipeline.dedup.labelled_pairs import read_pairs
    from crew_pipeline.dedup.pair_scorer import reader_of

    settings = load_settings()
    labelled = read_pairs(pairs)
    encoder = SentenceTransformerEncoder(
        settings.model, batch=settings.embed_batch, threads=settings.threads, precision=settings.precision
    )
    config = EngineConfig.of(settings).at(folding)
    result = run(labelled, encoder, config, reader_of(config.reader, encoder))
    if as_json:
        console.print_json(
            {
                "pairs": result.pairs,
                **asdict(result.engine),
                "cosine_baseline": {**asdict(result.cosine), "threshold": result.cosine_threshold},
                "folding": config.folding,
                "threshold": result.threshold,
                "as_folded": asdict(result.folded),
                "reliability": [asdict(one) for one in result.reliability],
            }
        )
    else:
        rendering.print_evaluation(pairs.name, config.folding, result)


@app.command("doctor")
def doctor(
    settings_only: Annotated[bool, typer.Option("--settings", help="List every setting.")] = False,
    as_json: JsonOption = False,
    data_dir: HomeOption = None,
) -> None:
    """Check database, migrations, model, Dagster, disk and clock; say what to do about each failure."""
    if settings_only:
        rows = describe_settings(load_settings())
        if as_json:
            console.print_json({"settings": rows})
        else:
            console.table(
                "",
                ["variable", "value", "default", "meaning"],
                [[row["variable"], row["value"], row["default"], row["description"]] for row in rows],
            )
        return
    from crew_pipeline.upkeep.doctor import examine

    # A database of one's own is examined as it is; the embedded one is made when it is first opened.
    with open_store(data_dir, prepare=not load_settings().database_url) as (settings, databases):
        findings = []
        for finding in examine(settings, databases):
            findings.append(finding)
            if not as_json:
                mark = "[green]ok[/]  " if finding.ok else "[red]FAIL[/]" if finding.essential else "[yellow]note[/]"
                remedy = f"; {finding.remedy}" if finding.remedy else ""
                console.styled(f"{mark}  {finding.name:<11} {console.shown(finding.found + remedy)}")
    if as_json:
        console.print_json(
            {"ok": all(one.ok or not one.essential for one in findings), "checks": [asdict(one) for one in findings]}
        )
    if any(finding.essential and not finding.ok for finding in findings):
        raise CommandError("Something essential is missing; the remedies are above.")


@app.command("env")
def env(data_dir: HomeOption = None) -> None:
    """Print the variables by which a Dagster of your own finds the databases: eval "$(crew env)"."""
    import shlex

    from crew_pipeline.orchestration.instance import prepare_home

    with open_store(data_dir) as (settings, databases):
        variables = {**databases.environment(), "DAGSTER_HOME": str(prepare_home(settings))}
    for name, value in variables.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")


@app.command("worker")
def worker(
    concurrency: Annotated[
        int | None, typer.Option(help="Worker processes; each makes one day at a time.", min=1, max=64)
    ] = None,
    data_dir: HomeOption = None,
) -> None:
    """Run warm workers in the foreground and keep them alive (``crew up`` runs them for you)."""
    from crew_pipeline.orchestration.instance import prepare_home
    from crew_pipeline.processes.pool import READY_WITHIN_S, environment, grace_s, worker_children
    from crew_pipeline.processes.supervisor import Supervisor

    supervisor = Supervisor()
    supervisor.stop_on_signals()
    _log_to_stderr(load_settings())
    with open_store(data_dir) as (settings, databases):
        count = concurrency or settings.workers
        variables = environment(settings, databases, prepare_home(settings), count)
        processes = worker_children(settings, databases, count, logged=False)
        supervisor.watch(processes, variables, databases.revive, grace_s(settings))
        try:
            if supervisor.start(READY_WITHIN_S, lambda name: console.say(f"{name} is ready")):
                supervisor.run()
        finally:
            supervisor.stop()


@app.command("worker-process", hidden=True)
def worker_process(data_dir: HomeOption = None) -> None:
    """One worker, which asks by its exit status to be started anew when it has grown too large."""
    _log_to_stderr(load_settings())
    with open_store(data_dir) as (settings, databases):
        if settings.on_demand == "dagster":
            from crew_pipeline.workers.dispatcher import run_dispatcher as run
        else:
            from crew_pipeline.workers.worker import run_worker as run
        code = run(settings, databases)
    raise typer.Exit(code)


@app.command("api")
def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8000,
    data_dir: HomeOption = None,
) -> None:
    """Run the API alone in the foreground (``crew up`` runs it for you)."""
    import uvicorn

    from crew_pipeline.api.access import refuse_exposed
    from crew_pipeline.api.app import create_app
    from crew_pipeline.api.sockets import BoundedWebSocket
    from crew_pipeline.dedup.config import fingerprint_of

    with open_store(data_dir) as (settings, databases):
        refuse_exposed(databases.db, host)
        application = create_app(settings, databases.application, fingerprint_of(settings), host)
        uvicorn.run(
            application,
            host=host,
            port=port,
            log_level=settings.log_level,
            access_log=False,
            ws=BoundedWebSocket,
            # What is encoded once for all clients would be compressed for each again, and each keep a dictionary.
            ws_per_message_deflate=False,
        )


def _span(
    databases: Databases, settings: Settings, day: str | None, first: str | None, last: str | None, client: str | None
) -> tuple[date, date]:
    if day is not None:
        one = day_named(day, settings, databases, client)
        return one, one
    if first is None or last is None:
        raise typer.BadParameter("--from and --to go together")
    begin, end = (day_named(one, settings, databases, client) for one in (first, last))
    if begin > end:
        raise typer.BadParameter(f"--from {begin} is after --to {end}")
    return begin, end


def _next_discovery(settings: Settings) -> str:
    from crew_pipeline.orchestration.days.sweep import discovery_cron, next_run

    if not settings.enable_background_jobs:
        return "Background jobs are off: 'crew discover' and 'crew process' do their work."
    cron = discovery_cron(settings)
    return f"History tables are looked at by {cron}, next at {next_run(cron, settings, datetime.now(UTC)):%H:%M %Z}."


def _refuse_taken_port(host: str, port: int) -> None:
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(
                f"Port {port} of {host} cannot be used ({error.strerror}); choose another port."
            ) from None


def _log_to_stderr(settings: Settings) -> None:
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("crew_pipeline").setLevel(settings.log_level.upper())


def _known_errors() -> tuple[type[Exception], ...]:
    """Errors whose message is a sentence for the user."""
    from crew_pipeline.api.access import ExposedError
    from crew_pipeline.dedup.embedding import ModelNotFoundError
    from crew_pipeline.discovery.exports.files import ExportError
    from crew_pipeline.processes.supervisor import StartError
    from crew_pipeline.storage.database import DatabaseUnavailableError
    from crew_pipeline.storage.embedded import EmbeddedPostgresError
    from crew_pipeline.storage.sources.crews import CrewError

    return (
        CommandError,
        SettingsError,
        ExposedError,
        ModelNotFoundError,
        ExportError,
        StartError,
        CrewError,
        DatabaseUnavailableError,
        EmbeddedPostgresError,
    )


def main() -> None:
    """Entry point: errors are one sentence on standard error, a traceback only with ``--debug``."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(arguments, prog_name="crew")
    except Exception as error:
        if debug:
            raise
        if isinstance(error, _known_errors()):
            console.note(str(error))
        else:
            console.note(f"Something went wrong ({type(error).__name__}); run again with --debug to see where.")
        sys.exit(1)


if __name__ == "__main__":
    main()
