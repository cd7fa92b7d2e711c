"""Tables, migrations, queries, claims and events, the embedded Postgres."""
