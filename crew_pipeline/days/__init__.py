"""A client's day: its claim, its making, what its visitors see and say; without Dagster and without HTTP."""
