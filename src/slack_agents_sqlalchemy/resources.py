"""The directories that the wheel carries inside the package; a checkout has them at its top."""

from pathlib import Path

_PACKAGE = Path(__file__).parent
_CHECKOUT = _PACKAGE.parents[1]


def migration_scripts() -> Path:
    """Return the directory of alembic's environment and revisions."""
    return _first_directory(_PACKAGE / "alembic", _CHECKOUT / "alembic")


def contract_suite() -> Path:
    """Return the directory that contains the package ``tests`` with the contract suite."""
    return _first_directory(_PACKAGE / "suite", _CHECKOUT)


def _first_directory(installed: Path, in_checkout: Path) -> Path:
    return installed if installed.is_dir() else in_checkout
