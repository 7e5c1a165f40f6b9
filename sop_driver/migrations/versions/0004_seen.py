"""No table changes: an older driver, whose entries do not say what their signers saw, writes no more."""

from alembic import op

from sop_driver import schema

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    schema.upgrade(op.get_bind(), revision)
