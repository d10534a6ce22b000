"""Database servers for the tests: the one that is named, the one that answers, or a private one.

A server is taken from the first of these that has one:

1. the URL in its environment variable (of an administrator; anything wrong with it is an error);
2. a server that answers on its usual loopback port without a password;
3. its installed programs: a private server in a temporary directory, on a free loopback port;
4. the programs that `programs` finds: PostgreSQL's from a wheel, MySQL's from Debian.

`ServerMissingError` says what to install where none has one. Databases get names of their own and
`Server.close` drops them; no other database is touched. `SLACK_AGENTS_TEST_PRIVATE_SERVERS=1`
leaves the second out.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.support.servers.mysql import MariaDB, MySQL
from tests.support.servers.postgresql import PgBouncer, PostgreSQL, PostgreSQL18
from tests.support.servers.process import PrivateProcess, ServerBrokenError
from tests.support.servers.programs import ServerMissingError
from tests.support.servers.server import Server

__all__ = [
    "FINDERS",
    "MariaDB",
    "MySQL",
    "PgBouncer",
    "PostgreSQL",
    "PostgreSQL18",
    "PrivateProcess",
    "Server",
    "ServerBrokenError",
    "ServerMissingError",
]

FINDERS: dict[str, Callable[[], Server]] = {
    "postgresql": PostgreSQL.find,
    "postgresql-18": PostgreSQL18.find,
    "mariadb": MariaDB.find,
    "mysql": MySQL.find,
    "pgbouncer": PgBouncer.find,
}
