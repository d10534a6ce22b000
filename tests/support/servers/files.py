"""Databases in files, which need no server: each test gets a copy of one that was migrated."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sqlalchemy import make_url

from tests.support.servers.programs import ServerMissingError


class FileDatabase:
    """A dialect that makes the file when it connects."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme

    def create(self, path: Path) -> str:
        """Return the URL of a database that is not there yet."""
        return self._url(path)

    def copy(self, url: str, path: Path) -> str:
        """Return the URL of a copy of a database that is not in use."""
        shutil.copyfile(str(make_url(url).database), path)
        return self._url(path)

    def _url(self, path: Path) -> str:
        return f"{self._scheme}:///{path}"


class Firebird(FileDatabase):
    """Firebird's engine within the process of the tests: no server, no password."""

    def create(self, path: Path) -> str:
        try:
            # Read when the library is loaded; the default is for the server's own account.
            os.environ.setdefault("FIREBIRD_LOCK", str(path.parent))
            from firebird.driver import create_database, driver_config  # noqa: PLC0415 - not everywhere
        except ImportError as exc:
            raise ServerMissingError(f"{exc}: pip install sqlalchemy-firebird") from exc
        except Exception as exc:
            raise ServerMissingError(
                f"{exc}: apt-get install firebird3.0-server-core libfbclient2"
            ) from exc
        driver_config.db_defaults.forced_writes.value = (
            False  # no test needs durability after a power failure
        )
        create_database(str(path), user="SYSDBA", charset="UTF8").close()
        return self._url(path)

    def _url(self, path: Path) -> str:
        return f"{self._scheme}://SYSDBA@/{path}?charset=UTF8"
