"""Request numbers have an index."""

from alembic import op

from sop_driver import schema

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    schema.upgrade(op.get_bind(), revision)
