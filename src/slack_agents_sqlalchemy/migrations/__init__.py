"""The schema of a database: its revision, and the upgrade to this version's.

Alembic's environment is apart, in the module ``environment``: only a migration imports it.
"""

from slack_agents_sqlalchemy.migrations.state import (
    HEAD,
    REVISIONS,
    after_interrupted_upgrade,
    current_revision,
    require_head,
    require_known,
)
from slack_agents_sqlalchemy.migrations.upgrade import alembic_config, ensure, upgrade_to_head

__all__ = [
    "HEAD",
    "REVISIONS",
    "after_interrupted_upgrade",
    "alembic_config",
    "current_revision",
    "ensure",
    "require_head",
    "require_known",
    "upgrade_to_head",
]
