"""How Alembic runs here: on the connection it is given (migrate.py, tests), never on one of its own."""

from alembic import context

from daogou.store.schema import metadata

# Batch mode: SQLite alters most things only by rebuilding the table.
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
