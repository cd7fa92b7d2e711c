"""Alembic's entry: runs the migrations on the engine that ``storage.migrate`` hands over."""

from alembic import context

from crew_pipeline.storage.migrations.schema import Base

engine = context.config.attributes["engine"]
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
