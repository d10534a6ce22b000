"""Modes of files, and the umask that new ones get."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the umask of this process for a while."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Return the mode of each file of a folder."""
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir() if file.is_file()}
