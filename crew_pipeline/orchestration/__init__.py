"""What is computed from what, when, and how often it is retried: Dagster definitions around the engine and the store."""
