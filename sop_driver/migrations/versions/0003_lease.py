"""Drivers on several machines share a lease on the fleet."""

from alembic import op

from sop_driver import schema

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    schema.upgrade(op.get_bind(), revision)
