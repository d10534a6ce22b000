"""The environment of the migrations: all of it is in the package, for every road to take."""

from logging.config import fileConfig

from alembic import context
from slack_agents_sqlalchemy.migrations.upgrade import run_environment

if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

run_environment(context)
