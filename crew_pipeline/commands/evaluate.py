"""``crew evaluate``: the engine's judgement against labelled pairs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from crew_pipeline.commands import console, rendering
from crew_pipeline.commands.common import JsonOption
from crew_pipeline.model import OperatingPoint
from crew_pipeline.settings import load_settings


def evaluate(
    pairs: Annotated[Path, typer.Argument(help="Labelled pairs (JSONL).")],
    folding: Annotated[OperatingPoint | None, typer.Option(help="Another operating point.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge labelled pairs with the engine, beside bare cosine similarity at its best threshold."""
    from crew_pipeline.dedup.config import EngineConfig
    from crew_pipeline.dedup.embedding import SentenceTransformerEncoder
    from crew_pipeline.dedup.evaluation import evaluate as run
    from crew_pipeline.dedup.labelled_pairs import read_pairs
    from crew_pipeline.dedup.pair_scorer import scorer_of

    settings = load_settings()
    labelled = read_pairs(pairs)
    encoder = SentenceTransformerEncoder.of(settings)
    config = EngineConfig.of(settings).at(folding)
    scorer = scorer_of(config.pair_scorer, threads=settings.threads, precision=settings.precision)
    result = run(labelled, encoder, config, scorer)
    if as_json:
        console.print_json(
            {
                "pairs": result.pairs,
                **asdict(result.engine),
                "cosine_baseline": {**asdict(result.cosine), "threshold": result.cosine_threshold},
                "folding": config.folding,
                "threshold": result.threshold,
                "as_judged": asdict(result.judged),
                "reliability": [asdict(band) for band in result.reliability],
            }
        )
    else:
        rendering.print_evaluation(pairs.name, config.folding, result)
