"""Discovery in Dagster."""
