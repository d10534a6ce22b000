"""SQLite, PostgreSQL, MariaDB and MySQL under names that the package does not know.

They use the portable fallback, as a dialect of another author does.
"""

from __future__ import annotations

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.mysql.mariadb import MariaDBDialect
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.base import SQLiteExecutionContext
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite


class PlainSQLite(SQLiteDialect_pysqlite):
    """SQLite by a synchronous driver."""

    name = "plainsqlite"
    supports_statement_cache = True


class UncountedContext(SQLiteExecutionContext):
    """The row count of a driver that does not count rows, as PEP 249 allows."""

    @property
    def rowcount(self) -> int:
        return -1


class UncountedSQLite(PlainSQLite):
    """SQLite by a driver that does not count rows."""

    name = "uncountedsqlite"
    supports_statement_cache = True
    execution_ctx_cls = UncountedContext


class PlainPostgreSQL(PGDialect_asyncpg):
    """PostgreSQL by an asyncio driver."""

    name = "plainpostgresql"
    supports_statement_cache = True


class PlainMariaDB(MariaDBDialect, MySQLDialect_pymysql):
    """MariaDB by a synchronous driver."""

    name = "plainmariadb"
    supports_statement_cache = True


class PlainMySQL(MySQLDialect_pymysql):
    """MySQL by a synchronous driver."""

    name = "plainmysql"
    supports_statement_cache = True


def register() -> None:
    """Make SQLAlchemy know them."""
    for dialect in (PlainSQLite, UncountedSQLite, PlainPostgreSQL, PlainMariaDB, PlainMySQL):
        registry.register(dialect.name, dialect.__module__, dialect.__name__)
