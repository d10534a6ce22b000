"""Alembic's environment; the package has the code, for a checkout and for the wheel."""

from logging.config import fileConfig

from alembic import context
from slack_agents_sqlalchemy.migrations.environment import run_environment

if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

run_environment(context)
