"""The options under `storage:`, and the errors of mistakes there."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
import yaml
from slack_agents.config import load_plugin
from sqlalchemy import URL, NullPool, StaticPool, make_url

from slack_agents_sqlalchemy import ConfigurationError, DriverMissingError, Provider
from slack_agents_sqlalchemy.dialects import adapter_for
from slack_agents_sqlalchemy.options import Options, parse_options
from slack_agents_sqlalchemy.urls import parse_url, redact


def test_the_configuration_of_the_readme_is_all_that_is_needed():
    storage = yaml.safe_load("{type: slack_agents_sqlalchemy, url: 'sqlite:///agents.db'}")
    provider = load_plugin(storage.pop("type"), **storage)
    assert isinstance(provider, Provider)


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("sqlite:///agents.db", "sqlite+pysqlite"),
        ("sqlite+aiosqlite:///agents.db", "sqlite+aiosqlite"),
        ("postgresql://host/agents", "postgresql+asyncpg"),
        ("postgres://host/agents", "postgresql+asyncpg"),
        ("mysql://host/agents", "mysql+aiomysql"),
        ("mariadb://host/agents", "mariadb+aiomysql"),
        ("mysql+pymysql://host/agents", "mysql+pymysql"),
        ("postgresql+psycopg2://host/agents", "postgresql+psycopg2"),
        ("postgresql+psycopg://host/agents", "postgresql+psycopg_async"),
    ],
)
def test_a_url_without_a_driver_gets_the_default_one_and_a_named_driver_is_kept(
    url: str, driver: str
):
    assert parse_url(url).drivername == driver


@pytest.mark.parametrize(
    "url", [" sqlite:///agents.db\n", "sqlite:///agents.db\r\n", "\tsqlite:///agents.db"]
)
def test_white_space_around_a_url_is_removed(url: str):
    assert parse_url(url).database == "agents.db"


@pytest.mark.parametrize("url", [None, "", " ", "\n"])
def test_a_missing_url_is_an_error_with_examples(url: str | None):
    with pytest.raises(ConfigurationError, match=r"'url' is missing.*sqlite:///agents\.db"):
        Provider(url=url)


@pytest.mark.parametrize("url", ["agents.db", "://", "postgresql://host:port/agents", 5, b"x"])
def test_a_malformed_url_is_an_error_with_examples(url: object):
    with pytest.raises(ConfigurationError, match=r"sqlite:///agents\.db"):
        Provider(url=url)  # type: ignore[arg-type] # the point


def test_an_unknown_dialect_is_an_error_that_names_it():
    with pytest.raises(ConfigurationError, match="no dialect 'postgrseql'"):
        Provider(url="postgrseql://host/agents")


@pytest.mark.parametrize(
    ("url", "module", "install"),
    [
        ("postgresql://host/agents", "asyncpg", "slack-agents-sqlalchemy[postgresql]"),
        ("mysql://host/agents", "aiomysql", "slack-agents-sqlalchemy[mysql]"),
        ("mariadb://host/agents", "aiomysql", "slack-agents-sqlalchemy[mysql]"),
        ("mysql+mysqldb://host/agents", "MySQLdb", "mysqlclient"),
        ("oracle+oracledb://host/agents", "oracledb", "oracledb"),
    ],
)
def test_a_driver_that_is_not_installed_is_an_error_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, url: str, module: str, install: str
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DriverMissingError) as missing:
        Provider(url=url)
    assert f"pip install '{install}'" in str(missing.value)


def test_a_driver_that_cannot_be_loaded_is_an_error_that_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    lacks = "libodbc.so.2: cannot open shared object file: No such file or directory"
    (tmp_path / "pyodbc.py").write_text(f"raise ImportError({lacks!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pyodbc", raising=False)
    with pytest.raises(DriverMissingError, match="installed and cannot be loaded") as refused:
        Provider(url="mssql+pyodbc://host/agents")
    assert lacks in str(refused.value)
    assert "pip install" not in str(refused.value)


def test_the_sslmode_of_libpq_is_understood_by_asyncpg_too():
    url = parse_url("postgres://host/agents?sslmode=require")
    of_driver = adapter_for(url.get_backend_name()).driver_url(url)
    assert of_driver.query == {"dsn": "postgresql:///?sslmode=require"}


@pytest.mark.parametrize("url", ["mysql://root@127.0.0.1", "mariadb://root@127.0.0.1/"])
def test_a_mysql_url_without_a_database_is_an_error_that_says_so(url: str):
    with pytest.raises(ConfigurationError, match="names no database"):
        Provider(url=url)


def test_a_password_that_is_not_percent_encoded_is_an_error_that_hides_it():
    with pytest.raises(ConfigurationError, match="percent-encode") as unencoded:
        Provider(url="postgresql://someone:ses@me/street@host/agents")
    assert "me/street" not in str(unencoded.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:S3cretA@S3cretB@host/db",
        "postgresql://u:p@ss/w@host/db",
        "postgresql://u:p@ss?w@host/db",
        "postgresql://u:p@ss:w@host/db",
        "postgresql://u:p@host/db?user=a@b",
        "postgresql://host:5432/db?password=p@ss",
        "postgresql://host?user=u&password=p@ss",
        "postgresql://u:hunter2/db",
        "mysql:///u:sesame@host/db",
        "mysql:///u:ses?me@host/db",
        make_url("postgresql://u:S3cretA@S3cretB@host/db"),
        make_url("postgresql://u:p@ss/w@host/db"),
        make_url("postgresql://host?user=u&password=p@ss"),
        make_url("mysql:///u:sesame@host/db"),
    ],
    ids=repr,
)
def test_a_url_that_can_be_read_in_two_ways_is_refused(url: str | URL):
    with pytest.raises(ConfigurationError, match="percent-encode") as refused:
        Provider(url=url)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None or refused.value.__suppress_context__


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40ss%2Fw@host/a%40b?user=a%40b",
        "postgresql://u@server:p@host/db",
        "postgresql://u:pa/s?s#w@host/db",
        "postgresql://host/db?user=a@b",
        "postgresql:///db?host=/run/a@b",
        "sqlite:////home/a@b/c@d:e.db",
    ],
)
def test_a_url_that_can_be_read_in_one_way_is_taken(url: str):
    Provider(url=url)


@pytest.mark.parametrize(
    "name", ["isolation_level", "execution_options", "pool_reset_on_return", "connect_args"]
)
def test_an_engine_option_that_the_provider_relies_on_is_refused(name: str):
    with pytest.raises(ConfigurationError, match=name):
        Provider(url="sqlite://", engine_options={name: None})


@pytest.mark.parametrize(
    "name",
    [
        *("pool_recycle", "pool_timeout", "label_length", "max_identifier_length"),
        *("query_cache_size", "insertmanyvalues_page_size"),
    ],
)
@pytest.mark.parametrize("value", ["3600", "soon", True])
def test_an_engine_option_that_must_be_a_number_is_an_error_that_names_it(name: str, value: object):
    with pytest.raises(ConfigurationError, match=rf"'engine_options'.*{name}.* must be a number"):
        Provider(url="postgresql://host/agents", engine_options={name: value})


@pytest.mark.parametrize("engine_options", [{"echo_pool": "no"}, {"module": 5}], ids=str)
async def test_an_engine_option_of_the_wrong_type_is_an_error_that_names_the_option(
    engine_options: dict[str, object],
):
    provider = Provider(url="sqlite://", engine_options=engine_options)
    with pytest.raises(ConfigurationError, match=f"'engine_options'.*{next(iter(engine_options))}"):
        await provider.initialize()


async def test_an_argument_of_the_wrong_type_is_no_error_of_an_unknown_argument():
    provider = Provider(url="sqlite://", connect_args={"timeout": "soon"})
    with pytest.raises(ConfigurationError, match=r"refuses an argument.*connect_args"):
        await provider.initialize()


@pytest.mark.parametrize("name", ["pool_size", "max_overflow"])
def test_the_size_of_the_pool_is_refused_as_an_engine_option_and_named_as_an_option(name: str):
    with pytest.raises(ConfigurationError, match=rf"{name}.*option 'pool_size'"):
        Provider(url="postgresql+psycopg2://host/agents", engine_options={name: 3})


@pytest.mark.parametrize(
    ("backend", "driver"),
    [
        ("postgresql", "postgresql+asyncpg"),
        ("postgresql", "postgresql+psycopg2"),
        ("mariadb", "mariadb+aiomysql"),
        ("mariadb", "mariadb+pymysql"),
    ],
    indirect=["backend"],
)
@pytest.mark.parametrize("poolclass", [NullPool, "NullPool"], ids=["class", "name"])
async def test_a_pool_of_another_class_may_be_chosen(
    fresh_url: str, driver: str, poolclass: object
):
    url = make_url(fresh_url).set(drivername=driver)
    provider = Provider(url=url, pool_size=2, engine_options={"poolclass": poolclass})
    await provider.initialize()
    await asyncio.gather(*(provider.append("plugin", "key", {"n": n}) for n in range(8)))
    assert isinstance(provider.engine.pool, NullPool)
    assert len(await provider.get_list("plugin", "key")) == 8
    await provider.close()


@pytest.mark.parametrize(
    ("url", "poolclass"),
    [
        ("sqlite:///:memory:", NullPool),
        ("postgresql://host/a", "NoPool"),
        ("postgresql://host/a", StaticPool),
        ("mysql://host/a", "StaticPool"),
        ("postgresql://host/a", "AssertionPool"),
        ("postgresql+psycopg2://host/a", "SingletonThreadPool"),
    ],
)
async def test_a_pool_that_cannot_serve_is_an_error_that_says_so(url: str, poolclass: object):
    with pytest.raises(ConfigurationError, match="'poolclass'"):
        await Provider(url=url, engine_options={"poolclass": poolclass}).initialize()


async def test_an_argument_that_the_driver_does_not_take_is_an_error_that_says_where(
    tmp_path: Path,
):
    provider = Provider(
        url=f"sqlite:///{tmp_path / 'agents.db'}", connect_args={"no_such_argument": 1}
    )
    with pytest.raises(ConfigurationError, match=r"connect_args.*no_such_argument"):
        await provider.initialize()


def test_a_misspelt_option_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ConfigurationError) as misspelt:
        Provider(url="sqlite://", pool_sise=3)
    assert "unknown storage option 'pool_sise'" in str(misspelt.value)
    assert "Did you mean 'pool_size'?" in str(misspelt.value)
    for known in ("url", "migrate", "pool_size", "connect_timeout", "command_timeout", "echo"):
        assert known in str(misspelt.value)


@pytest.mark.parametrize(
    "option",
    [
        {"migrate": "sometimes"},
        {"migrate": ["auto"]},
        {"pool_size": 0},
        {"pool_size": "ten"},
        {"pool_size": True},
        {"connect_timeout": -1},
        {"connect_timeout": "soon"},
        {"command_timeout": 0},
        {"command_timeout": float("nan")},
        {"echo": "yes"},
        {"engine_options": "fast"},
        {"connect_args": ["ssl"]},
    ],
    ids=str,
)
def test_an_invalid_option_is_an_error_that_names_it(option: dict[str, object]):
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        Provider(url="sqlite://", **option)


def test_an_option_that_is_empty_in_the_yaml_keeps_its_default():
    assert parse_options({"pool_size": None, "engine_options": None}) == Options()


def test_off_in_yaml_means_off():
    assert parse_options(yaml.safe_load("migrate: off")).migrate == "off"


async def test_an_engine_option_that_sqlalchemy_refuses_is_an_error_that_says_so():
    provider = Provider(url="sqlite://", engine_options={"no_such_option": 1})
    with pytest.raises(ConfigurationError, match="no_such_option"):
        await provider.initialize()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://someone:sesame@host/agents",
        "postgresql://someone@host/agents?password=sesame",
        "postgresql://someone@host/agents?passwd=sesame&sslpassword=sesame",
        "postgresql://someone@host/agents?passphrase=sesame&authToken=sesame",
    ],
)
def test_no_password_is_shown(url: str):
    assert "sesame" not in redact(make_url(url))
    assert "sesame" not in repr(Provider(url=url))
    assert "someone" in repr(Provider(url=url))


def test_a_url_that_cannot_be_read_is_not_shown_for_its_password():
    with pytest.raises(ConfigurationError) as unreadable:
        Provider(url="postgresql://someone:sesame@host:port/agents")
    error: BaseException | None = unreadable.value
    while error is not None:
        assert "sesame" not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
