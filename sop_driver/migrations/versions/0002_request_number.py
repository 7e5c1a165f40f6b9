"""Request numbers have an index."""

from alembic import op

from sop_driver.schema import statements

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for statement in statements(op.get_bind().dialect.name, revision):
        op.get_bind().exec_driver_sql(statement)
