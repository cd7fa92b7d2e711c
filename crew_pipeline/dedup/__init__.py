"""The engine: lines in, clusters and a day document out. No Dagster, no database, no clock, no environment."""
