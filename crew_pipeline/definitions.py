"""What Dagster loads."""

from crew_pipeline.orchestration.build import build_defs
from crew_pipeline.settings import process_settings

defs = build_defs(process_settings())
