"""Upkeep in Dagster."""
