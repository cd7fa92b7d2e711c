"""A day in Dagster: its assets, their tables, its checks, the sweep and the sensors."""
