"""The register as it was first made."""

from alembic import op

from sop_driver import schema

revision = "0001"
down_revision = None


def upgrade() -> None:
    schema.upgrade(op.get_bind(), revision)
