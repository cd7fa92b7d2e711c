"""The tables between the assets: one IO manager each, its writing beside its reading.

What is written of a day is committed before the next day is computed. Only days that the run holds a claim on are
written; what an overtaken run brings is dropped with a warning. While a table is written, which is when the asset
computes, the run's claims are kept alive.
"""

from abc import abstractmethod
from datetime import date

import pandas as pd
from dagster import ConfigurableIOManager, Failure, InputContext, OutputContext, ResourceDependency

from crew_pipeline.days import claims, publishing
from crew_pipeline.days.retries import Patience
from crew_pipeline.days.run import DayTools
from crew_pipeline.dedup import frames
from crew_pipeline.dedup.cores import distinct_texts
from crew_pipeline.model import ClientDay
from crew_pipeline.orchestration.days.day_work import lines_held
from crew_pipeline.orchestration.days.frames import DayFrames
from crew_pipeline.orchestration.failures import isolated, permanent_errors_end_at_once
from crew_pipeline.orchestration.interrupts import INTERRUPTS, in_thread
from crew_pipeline.orchestration.partitions import days_of
from crew_pipeline.orchestration.resources import DayMaking
from crew_pipeline.storage.evidence import clusters

_MOST_NAMED = 5


class DayTable(ConfigurableIOManager):
    """Frames of days to and from one table, day by day."""

    making: ResourceDependency[DayMaking]

    def handle_output(self, context: OutputContext, obj: DayFrames) -> None:
        """Store the frames of every day as they are made."""
        token = context.step_context.dagster_run.run_id
        with permanent_errors_end_at_once(token):
            try:
                with claims.heartbeat(self.making.tools.db, token, self.making.claim_ttl_s):
                    rows = in_thread(lambda: self._write_all(context, token, obj))
            except INTERRUPTS:
                with self.making.tools.db.write() as connection:
                    claims.give_back(connection, token)
                raise
        context.add_output_metadata({"days": len(obj.days), "rows": rows})

    def _write_all(self, context: OutputContext, token: str, obj: DayFrames) -> int:
        rows = 0
        for day in obj.days:
            for frame in obj.chunks(day):
                rows += len(frame)
                self.write(context, token, day, frame)
        return rows

    def load_input(self, context: InputContext) -> DayFrames:
        """The upstream asset's frames of the run's days, each loaded when it is asked for."""
        token = context.step_context.dagster_run.run_id
        return DayFrames(days_of(context.asset_partition_keys), lambda day: self.read(token, day))

    @abstractmethod
    def write(self, context: OutputContext, token: str, day: date, frame: pd.DataFrame) -> None:
        """Store a frame of a day."""

    @abstractmethod
    def read(self, token: str, day: date) -> pd.DataFrame:
        """The frame of a day, of what the run holds."""

    @property
    def tools(self) -> DayTools:
        """What days are made with."""
        return self.making.tools

    @property
    def patience(self) -> Patience:
        """How often a client's day is tried."""
        return self.making.patience

    def lines_held(self, token: str, day: date) -> pd.DataFrame:
        """The lines of the clients' days that the run holds."""
        return lines_held(self.tools, token, day)

    def held(self, token: str, day: date) -> list[ClientDay]:
        """The clients' days that the run holds."""
        with self.making.tools.db.read() as connection:
            return claims.held(connection, token, [day])


class LinesTable(DayTable):
    """``lines`` and ``data_items``, which discovery fills: frame ``frames.DISCOVERED``."""

    def write(self, context: OutputContext, token: str, day: date, frame: pd.DataFrame) -> None:
        """Nothing: the lines are where they came from."""

    def read(self, token: str, day: date) -> pd.DataFrame:
        """The same lines that the asset returned, as long as the process lives."""
        return self.lines_held(token, day)


class TextVectors(DayTable):
    """The vectors of the day's texts, which are made again rather than stored: frame ``frames.VECTORS``."""

    def write(self, context: OutputContext, token: str, day: date, frame: pd.DataFrame) -> None:
        """Keep them for the next step: they follow from the lines, in less time than it takes to store them."""
        self.tools.snapshots.keep_vectors(token, day, frame)

    def read(self, token: str, day: date) -> pd.DataFrame:
        """The vectors of the texts of all that the run holds, by ascending hash."""
        kept = self.tools.snapshots.vectors(token, day)
        if kept is not None:
            return kept
        lines = self.lines_held(token, day)
        texts: dict[bytes, str] = {}
        for client in sorted(set(lines["client"])):
            texts |= distinct_texts(frames.of_client(lines, client), self.tools.config)
        ordered = dict(sorted(texts.items()))
        vectors = self.tools.encoder.encode(list(ordered.values()))
        return frames.frame(zip(ordered, vectors, strict=True), frames.VECTORS)


class ClustersTable(DayTable):
    """``semantic_clusters`` and ``line_cluster_mapping``: frame ``frames.MEMBERS``."""

    def write(self, context: OutputContext, token: str, day: date, frame: pd.DataFrame) -> None:
        """Put the day's clusters in the place of the old ones, each client's in a transaction of its own."""
        for client_day in self.held(token, day):
            own = frames.rows(frames.of_client(frame, client_day.client))
            with isolated(self.tools, client_day, token, self.patience, context.log):
                publishing.store_clusters(self.tools.db, client_day, token, own)

    def read(self, token: str, day: date) -> pd.DataFrame:
        """The clusters of the clients' days that the run holds."""
        rows: list[tuple[object, ...]] = []
        held = self.held(token, day)
        with self.tools.db.read() as connection:
            for client_day in held:
                rows.extend(
                    (client_day.client, fold.cluster_id, *key, *fold[1:])
                    for key, fold in sorted(clusters.folds_of(connection, client_day).items())
                )
        return frames.frame(rows, frames.MEMBERS)


class DocumentsTable(DayTable):
    """``day_documents``: frame ``frames.DOCUMENTS``."""

    def handle_output(self, context: OutputContext, obj: DayFrames) -> None:
        """Publish every day's documents. A run that was to make days and has not is no success."""
        super().handle_output(context, obj)
        with self.tools.db.read() as connection:
            left = claims.released(connection, context.step_context.dagster_run.run_id)
        if left:
            named = ", ".join(map(str, left[:_MOST_NAMED]))
            raise Failure(
                description=f"{len(left)} clients' days were given back and are not ready ({named}); run them again.",
                allow_retries=False,
            )

    def write(self, context: OutputContext, token: str, day: date, frame: pd.DataFrame) -> None:
        """Publish the day's documents, each client's in a transaction of its own."""
        for row in frames.rows(frame):
            client_day = ClientDay(str(row.client), day)
            with isolated(self.tools, client_day, token, self.patience, context.log):
                publishing.publish_made(self.tools, client_day, token, row.document)

    def read(self, token: str, day: date) -> pd.DataFrame:
        """No asset is made of documents: they are what the API serves."""
        raise NotImplementedError("documents are read by the API, not by an asset")


def build_tables(making: DayMaking) -> dict[str, DayTable]:
    """The tables by the keys under which the assets name them."""
    return {
        "lines_table": LinesTable(making=making),
        "text_vectors": TextVectors(making=making),
        "clusters_table": ClustersTable(making=making),
        "documents_table": DocumentsTable(making=making),
    }
