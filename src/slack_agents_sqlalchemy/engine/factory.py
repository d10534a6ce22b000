"""Create the SQLAlchemy engine, from the URL and the provider's options."""

import logging
from typing import Any

from sqlalchemy import create_engine, event, pool
from sqlalchemy.engine import URL, Engine, ExceptionContext
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from slack_agents_sqlalchemy.dialects import DialectAdapter, ErrorKind
from slack_agents_sqlalchemy.engine.error_mapping import unusable
from slack_agents_sqlalchemy.engine.keepalive import set_keepalive
from slack_agents_sqlalchemy.errors import ConfigurationError
from slack_agents_sqlalchemy.options import Options
from slack_agents_sqlalchemy.urls import redact

# No transaction is open at the checkin of a connection.
_AUTOCOMMIT = {
    "isolation_level": "AUTOCOMMIT",
    "skip_autocommit_rollback": True,
    "pool_reset_on_return": None,
}


def uses_autocommit(url: URL, adapter: DialectAdapter, options: Options) -> bool:
    """Return whether connections autocommit, so that one statement is one round trip."""
    prepares_separately = adapter.prepares_separately(url.get_driver_name())
    return adapter.supports_autocommit and (options.prepared_statements or not prepares_separately)


def create(url: URL, adapter: DialectAdapter, options: Options) -> Engine:
    """Return a new engine, which has no connection yet.

    Raises:
        ConfigurationError: SQLAlchemy or the driver refuses the URL or an option.
    """
    keepalive = adapter.keepalive_arguments(url.get_driver_name(), options.connect_timeout)
    arguments: dict[str, Any] = {
        "hide_parameters": True,
        "echo": options.echo,
        "logging_name": "slack_agents",
        **(_AUTOCOMMIT if uses_autocommit(url, adapter, options) else {}),
        **_engine_options(url, adapter, options),
        "connect_args": {
            **_connect_arguments(url, adapter, options),
            **{name: value for name, value in keepalive.items() if name not in url.query},
            **options.connect_args,
        },
    }
    try:
        engine = create_engine(adapter.driver_url(url), **arguments)
    except (ArgumentError, AttributeError, KeyError, TypeError, ValueError) as exc:
        raise _refusal(url, options, exc) from None
    adapter.configure_dialect(engine.dialect)
    # At DEBUG, SQLAlchemy logs the rows that it reads, including tokens.
    sql_log = logging.getLogger(f"sqlalchemy.engine.Engine.{engine.logging_name}")
    sql_log.addFilter(_is_above_debug)
    _listen(engine, url, adapter, options, sets_keepalive=not keepalive)
    return engine


def _refusal(url: URL, options: Options, error: Exception) -> ConfigurationError:
    """Return the error of arguments that ``create_engine`` refuses."""
    if isinstance(error, ValueError) or not options.engine_options:
        return unusable(redact(url), error)
    if isinstance(error, TypeError):
        return ConfigurationError(f"storage option 'engine_options' is unusable: {error}")
    return ConfigurationError(  # without its text, which may repeat a value
        "storage option 'engine_options' has a value that SQLAlchemy refuses: look at "
        f"{', '.join(options.engine_options)}"
    )


def _connect_arguments(url: URL, adapter: DialectAdapter, options: Options) -> dict[str, Any]:
    driver = url.get_driver_name()
    arguments = adapter.connect_arguments(
        driver, options.connect_timeout / adapter.server_count(url), options.command_timeout
    ) | adapter.tls_arguments(url)
    if options.schema is not None:
        in_schema = adapter.schema_arguments(driver, options.schema)
        if taken := in_schema.keys() & options.connect_args.keys():
            raise ConfigurationError(
                f"storage option 'schema' sets {', '.join(taken)} for the driver, which "
                "'connect_args' holds already: name the schema there, and leave 'schema' out"
            )
        arguments |= in_schema
    if not options.prepared_statements:
        arguments |= adapter.unprepared_arguments(driver)
    return arguments


def _engine_options(url: URL, adapter: DialectAdapter, options: Options) -> dict[str, Any]:
    """Return the option ``engine_options``, with the arguments of a pool that has a size."""
    given = dict(options.engine_options)
    of_pool = adapter.engine_arguments(url, options.pool_size)
    if "poolclass" not in given:
        return of_pool | given
    chosen = given["poolclass"]
    if isinstance(chosen, str):  # as YAML has it
        chosen = getattr(pool, chosen, None)
    if adapter.has_single_connection:
        raise ConfigurationError(
            "storage option 'engine_options' holds a 'poolclass', which is of no use to "
            f"{redact(url)}: it keeps one connection. Leave it out"
        )
    # The other classes share one connection among concurrent calls, or refuse the second call.
    if not isinstance(chosen, type) or not issubclass(chosen, pool.QueuePool | pool.NullPool):
        raise ConfigurationError(
            "storage option 'engine_options' holds a 'poolclass' that cannot serve several calls "
            "at once: use QueuePool or NullPool, or leave it out"
        )
    has_size = issubclass(chosen, pool.QueuePool)
    return (of_pool if has_size else {}) | given | {"poolclass": chosen}


def _listen(
    engine: Engine, url: URL, adapter: DialectAdapter, options: Options, *, sets_keepalive: bool
) -> None:
    """Listen for new connections, to configure them, and for errors, to drop lost connections."""

    def keep_alive(_connection: Any, record: ConnectionPoolEntry) -> None:
        set_keepalive(record.driver_connection, options.connect_timeout)

    def configure(connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["url"] = url
        record.info["command_timeout"] = options.command_timeout
        record.info["schema"] = options.schema
        if options.synchronous is not None:
            record.info["synchronous"] = options.synchronous
        try:
            adapter.configure_connection(connection, record.info)
        except BaseException:
            engine.dialect.do_terminate(connection)  # the pool does not close it
            raise

    def mark_lost(context: ExceptionContext) -> None:
        if adapter.error_kind(context.original_exception) is ErrorKind.UNAVAILABLE:
            context.is_disconnect = True  # SQLAlchemy does not recognise all of these errors

    if sets_keepalive:  # first: the server may stop responding to the statements that configure
        event.listen(engine, "connect", keep_alive, insert=True)
    event.listen(engine, "connect", configure)
    event.listen(engine, "handle_error", mark_lost)


def _is_above_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG
