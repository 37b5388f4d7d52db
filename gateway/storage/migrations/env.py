"""How Alembic runs revisions here: on the connection that it is handed, in the transaction that has begun on it."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
