"""Hit or miss, waiting, and the feed of events, for the API process; no pandas, no Dagster."""
