"""What a call costs beyond the driver: the same SQL on the bare driver, on a held connection.

Every call of the contract that is one statement, as SQLAlchemy compiled it, with the same
parameters. The bare driver fetches the rows and does nothing with them: no digest, no JSON, no time
limit, no pool.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import Engine, event
from sqlalchemy.util import greenlet_spawn

from benchmarks.calls import calls, primitives
from benchmarks.harness import Case, Implementation, Session, Timed, nothing
from benchmarks.implementations import OURS, ours
from slack_agents_sqlalchemy import Provider
from slack_agents_sqlalchemy.identifiers import next_id

_LEAST_ID = 2**53  # they are made from the time

type Statement = tuple[str, Sequence[Any]]
type Bare = Callable[[Any, str, Sequence[Any]], Awaitable[object]]


async def measure(session: Session) -> None:
    """Compare each call of one statement with the bare driver."""
    cases = [
        case
        for case in (*primitives(session.profile), *calls(session.profile))
        if session.wants(case.name) and not case.name.startswith(("agent turn", "full export"))
    ]
    if not cases:
        return
    session.show("", total=len(cases))
    with session.on_one_cpu():
        async with ours(session.url) as mine:
            engine = cast("Provider", mine.storage).engine
            bare = _BARE.get(engine.dialect.driver)
            if bare is None:
                return
            pooled = await _connect(engine)
            try:
                for case in cases:
                    await _compare(session, case, mine, bare, pooled.driver_connection)
            finally:
                await mine.empty()
                await _call(engine, pooled.close)


async def _compare(
    session: Session, case: Case, mine: Implementation, bare: Bare, held: Any
) -> None:
    await mine.empty()
    await case.dataset(mine.storage)
    side = await case.prepare(mine.storage)
    await mine.settle()
    engine = cast("Provider", mine.storage).engine
    runs = []
    for _ in range(2):
        with _statements(engine) as run:
            await side.call(await side.before())
        runs.append(run)
    if any(len(run) != 1 for run in runs):
        session.notes.append(f"{case.name} is not one statement: passed over")
        return
    # A row that is written again must be another one: a server does not write what is the same.
    sql, _ = runs[0][0]
    alternating = itertools.cycle(run[0][1] for run in runs)
    ids = [place for place, pair in enumerate(_pairs(runs)) if _is_new_id(*pair)]

    async def call(_: None) -> object:
        given = list(next(alternating))
        for place in ids:
            given[place] = next_id()
        return await bare(held, sql, given)

    name = f"bare {engine.dialect.driver}"
    await session.measure_calls(case.name, {name: Timed(call, nothing), OURS: side})


def _pairs(runs: list[list[Statement]]) -> Iterator[tuple[Any, Any]]:
    one, other = (run[0][1] for run in runs)
    return zip(one, other, strict=True)


def _is_new_id(one: object, other: object) -> bool:
    return isinstance(one, int) and one != other and one > _LEAST_ID


@contextmanager
def _statements(engine: Engine) -> Iterator[list[Statement]]:
    seen: list[Statement] = []

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        seen.append((sql, parameters))

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


async def _connect(engine: Engine) -> Any:
    return await _call(engine, engine.raw_connection)


async def _call(engine: Engine, function: Callable[[], Any]) -> Any:
    return await greenlet_spawn(function) if engine.dialect.is_async else function()


async def _asyncpg(connection: Any, sql: str, parameters: Sequence[Any]) -> object:
    return await connection.fetch(sql, *parameters)


async def _aiomysql(connection: Any, sql: str, parameters: Sequence[Any]) -> object:
    async with connection.cursor() as cursor:
        await cursor.execute(sql, parameters)
        return await cursor.fetchall()


async def _pysqlite(connection: Any, sql: str, parameters: Sequence[Any]) -> object:
    return connection.execute(sql, parameters).fetchall()


_BARE: dict[str, Bare] = {"asyncpg": _asyncpg, "aiomysql": _aiomysql, "pysqlite": _pysqlite}
