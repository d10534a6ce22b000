"""Fetch the programs of a server that is not installed: `python -m tests.support.servers mysql`."""

from __future__ import annotations

import os
import sys

from tests.support.servers.programs import FETCH, from_debian

os.environ[FETCH] = "1"
print(from_debian(sys.argv[1]).root)
