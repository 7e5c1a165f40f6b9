"""What alembic asks for: migrate on the connection, and within the transaction, that the register opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
