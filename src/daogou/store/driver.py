"""Reads that are too many for SQLAlchemy's rows: its statements, the database driver's own cursor (a third of the time).

Values come as the driver has them: JSON as text, booleans as SQLite's 0 and 1.
"""

from functools import lru_cache
from typing import Any

import sqlalchemy as sa


def cursor(conn: sa.Connection, statement: sa.Select[Any], **parameters: Any) -> Any:
    """An executed DB-API cursor; to be closed or read to its end."""
    compiled = _compiled(statement, conn.dialect)
    values = {**compiled.params, **parameters}
    out: Any = conn.connection.cursor()
    out.execute(str(compiled), tuple(values[name] for name in compiled.positiontup))
    return out


@lru_cache(maxsize=32)
def _compiled(statement: sa.Select[Any], dialect: sa.Dialect) -> Any:
    return statement.compile(dialect=dialect)
