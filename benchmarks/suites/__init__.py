"""The suites: one module each, with ``async def measure(session: Session) -> None``.

The first line of a module's docstring is the title of its results. A new module is a new suite.
"""
