"""The schema, and the migrations that lead to it."""
