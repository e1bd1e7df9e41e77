"""Run by Alembic for `alembic revision --autogenerate`; the product itself migrates through `worker.ledger.schema`."""

import os

from alembic import context

from worker.ledger import tables
from worker.ledger.database import Database

database = Database(os.environ["APPROVALS_LEDGER__URL"])
with database.engine.connect() as connection:
    context.configure(connection=connection, target_metadata=tables.metadata)
    with context.begin_transaction():
        context.run_migrations()
