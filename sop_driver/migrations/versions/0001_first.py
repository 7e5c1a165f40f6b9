"""The register as it was first made."""

from alembic import op

from sop_driver.schema import statements

revision = "0001"
down_revision = None


def upgrade() -> None:
    for statement in statements(op.get_bind().dialect.name, revision):
        op.get_bind().exec_driver_sql(statement)
