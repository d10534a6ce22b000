"""The engine: what SQLAlchemy and the driver are told, from the URL and the provider's options."""

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

# Nothing is left to roll back when a connection is given back.
_AUTOCOMMIT = {
    "isolation_level": "AUTOCOMMIT",
    "skip_autocommit_rollback": True,
    "pool_reset_on_return": None,
}


def uses_autocommit(url: URL, adapter: DialectAdapter, options: Options) -> bool:
    """Return whether connections are put in AUTOCOMMIT, so that one statement is one round trip."""
    prepares_separately = adapter.prepares_separately(url.get_driver_name())
    return adapter.supports_autocommit and (options.prepared_statements or not prepares_separately)


def create(url: URL, adapter: DialectAdapter, options: Options) -> Engine:
    """Create the engine; it connects to nothing yet.

    Raises:
        ConfigurationError: The URL or an option is of no use to SQLAlchemy or the driver.
    """
    of_silence = adapter.keepalive_arguments(url.get_driver_name(), options.connect_timeout)
    arguments: dict[str, Any] = {
        "hide_parameters": True,
        "echo": options.echo,
        "logging_name": "slack_agents",
        **(_AUTOCOMMIT if uses_autocommit(url, adapter, options) else {}),
        **_engine_options(url, adapter, options),
        "connect_args": {
            **_connect_arguments(url, adapter, options),
            **{name: value for name, value in of_silence.items() if name not in url.query},
            **options.connect_args,
        },
    }
    try:
        engine = create_engine(adapter.driver_url(url), **arguments)
    except TypeError as exc:
        raise ConfigurationError(f"storage option 'engine_options' is unusable: {exc}") from exc
    except ArgumentError:  # which may repeat a value
        raise ConfigurationError(
            "storage option 'engine_options' has a value that SQLAlchemy refuses: look at "
            f"{', '.join(options.engine_options)}"
        ) from None
    except ValueError as exc:
        raise unusable(redact(url), exc) from None
    adapter.configure_dialect(engine.dialect)
    # A logger of its own: at DEBUG, SQLAlchemy logs the rows that it reads, tokens too.
    sql_log = logging.getLogger(f"sqlalchemy.engine.Engine.{engine.logging_name}")
    sql_log.addFilter(_shows_no_row)
    _listen(engine, url, adapter, options, limits_silence=not of_silence)
    return engine


def _connect_arguments(url: URL, adapter: DialectAdapter, options: Options) -> dict[str, Any]:
    driver = url.get_driver_name()
    arguments = adapter.connect_arguments(
        driver, options.connect_timeout / adapter.server_count(url), options.command_timeout
    ) | adapter.tls_arguments(url)
    if options.schema is not None:
        in_schema = adapter.schema_arguments(driver, options.schema)
        if taken := in_schema.keys() & options.connect_args.keys():
            raise ConfigurationError(
                f"storage option 'schema' is said to the driver by {', '.join(taken)}, "
                "which 'connect_args' holds already: say it there, and leave 'schema' out"
            )
        arguments |= in_schema
    if not options.prepared_statements:
        arguments |= adapter.unprepared_arguments(driver)
    return arguments


def _engine_options(url: URL, adapter: DialectAdapter, options: Options) -> dict[str, Any]:
    """Return the engine's options, and what the pool is told where it is one of a size."""
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
    # The others share one connection among calls that run at once, or refuse the second.
    if not isinstance(chosen, type) or not issubclass(chosen, pool.QueuePool | pool.NullPool):
        raise ConfigurationError(
            "storage option 'engine_options' holds a 'poolclass' that cannot serve several calls "
            "at once: use QueuePool or NullPool, or leave it out"
        )
    has_size = issubclass(chosen, pool.QueuePool)
    return (of_pool if has_size else {}) | given | {"poolclass": chosen}


def _listen(
    engine: Engine, url: URL, adapter: DialectAdapter, options: Options, *, limits_silence: bool
) -> None:
    """Set each new connection up, and have the pool drop those that are lost."""

    def limit(_connection: Any, record: ConnectionPoolEntry) -> None:
        set_keepalive(record.driver_connection, options.connect_timeout)

    def prepare(connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["url"] = url
        record.info["command_timeout"] = options.command_timeout
        record.info["schema"] = options.schema
        if options.synchronous is not None:
            record.info["synchronous"] = options.synchronous
        try:
            adapter.configure_connection(connection, record.info)
        except BaseException:
            engine.dialect.do_terminate(connection)  # the pool forgets it
            raise

    def mark_lost(context: ExceptionContext) -> None:
        if adapter.error_kind(context.original_exception) is ErrorKind.UNAVAILABLE:
            context.is_disconnect = True  # SQLAlchemy does not know all of its driver's signs

    if limits_silence:  # first, as what sets a connection up may meet with silence too
        event.listen(engine, "connect", limit, insert=True)
    event.listen(engine, "connect", prepare)
    event.listen(engine, "handle_error", mark_lost)


def _shows_no_row(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG
