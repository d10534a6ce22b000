"""The migrations create exactly the schema that the models declare."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from alembic import command
from slack_agents_sqlalchemy import Provider, migrations
from slack_agents_sqlalchemy.models import TABLE_PREFIX, VERSION_TABLE, metadata
from tests.migrations.schema import describe_schema, run_on, table_names
from tests.support import sql


async def opened(url: str) -> Provider:
    provider = Provider(url=url)
    await provider.initialize()
    return provider


async def test_the_models_and_the_migrated_tables_are_equal(fresh_url: str):
    def compare(connection: Connection) -> None:
        migrated = describe_schema(connection)
        metadata.drop_all(connection)
        metadata.create_all(connection)
        assert migrated == describe_schema(connection)

    provider = await opened(fresh_url)
    await sql.run(provider, compare)
    await provider.close()


async def test_autogenerate_finds_nothing_to_migrate(fresh_url: str):
    def differences(connection: Connection) -> list[object]:
        options = {
            "version_table": VERSION_TABLE,
            "include_name": lambda name, kind, _: kind != "table" or name.startswith(TABLE_PREFIX),
            "compare_type": True,
        }
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, metadata))

    provider = await opened(fresh_url)
    assert await sql.run(provider, differences) == []
    await provider.close()


async def test_every_constraint_and_index_has_a_name_that_fits_31_characters(fresh_url: str):
    def names(connection: Connection) -> list[str | None]:
        inspector = inspect(connection)
        found: list[str | None] = []
        for table in describe_schema(connection):
            found.append(table)
            if connection.dialect.name not in ("mysql", "mariadb"):  # it calls each PRIMARY
                found.append(inspector.get_pk_constraint(table)["name"])
            found += [unique["name"] for unique in inspector.get_unique_constraints(table)]
            found += [index["name"] for index in inspector.get_indexes(table)]
            found += [key["name"] for key in inspector.get_foreign_keys(table)]
        return found

    provider = await opened(fresh_url)
    found = await sql.run(provider, names)
    await provider.close()
    assert len(found) > 20 or fresh_url.startswith(("mariadb", "mysql"))
    assert all(name is not None and len(name) <= 31 for name in found), found


async def test_downgrading_to_nothing_leaves_no_table(fresh_url: str):
    def downgrade(connection: Connection) -> list[str]:
        config = migrations.alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        return table_names(connection)

    provider = await opened(fresh_url)
    assert await sql.run(provider, downgrade) == [VERSION_TABLE]
    await provider.close()


@pytest.mark.durable
async def test_tables_of_other_programs_are_not_changed(fresh_url: str):
    """The built-in provider's tables have the same names without the prefix."""

    def create_theirs(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE conversations (id INTEGER, note VARCHAR(20))"))
        connection.execute(text("INSERT INTO conversations VALUES (1, 'theirs')"))
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(20))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))

    def read_theirs(connection: Connection) -> list[object]:
        return [
            connection.execute(text("SELECT note FROM conversations")).scalars().all(),
            connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all(),
        ]

    run_on(fresh_url, create_theirs)
    provider = await opened(fresh_url)
    await provider.close()
    assert run_on(fresh_url, read_theirs) == [["theirs"], ["theirs"]]


def test_the_revisions_that_the_package_knows_are_those_of_the_scripts():
    scripts = ScriptDirectory.from_config(migrations.alembic_config())
    in_order = [script.revision for script in scripts.walk_revisions()][::-1]
    assert list(migrations.REVISIONS) == in_order
