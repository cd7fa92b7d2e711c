"""A Dagster deployment from outside, spoken to through its GraphQL."""
