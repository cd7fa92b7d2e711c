"""What is computed from what, when, and how often it is retried: Dagster around the engine and the store."""
