"""The questions: one a file, each with ``async def measure(session: Session) -> None``.

The first line of a file's docstring says what it finds out. To ask another one, add a file.
"""
