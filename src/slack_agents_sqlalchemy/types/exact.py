"""Encode text and JSON as text that every database stores unchanged, and decode it."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import repeat
from operator import contains
from types import NoneType
from typing import Any, NamedTuple

import orjson

from slack_agents_sqlalchemy.errors import InvalidTypeError, InvalidValueError

# Text is stored unchanged, except for the characters that a database cannot store (NUL, surrogates)
# and the mark itself: each becomes the mark and its four hexadecimal digits.
# The mark is U+FDD0, which Unicode reserves for internal use: exchanged text does not contain it.
_MARK = "\ufdd0"
_TO_MARK = re.compile(f"[\0{_MARK}\ud800-\udfff]")
_MARKED = re.compile(f"{_MARK}([0-9a-f]{{4}})")

MARKED_EMPTY_TEXT = _MARK  # a mark without digits has no other meaning
"""The stored form of an empty text, for a database that stores it as NULL."""

# A leading space, which JSON ignores, marks JSON that orjson cannot write or read exactly.
_STDLIB_MARK = " "

_EXPONENT = re.compile(rb"\de[-+\d]")  # of a number: json and orjson write it differently

_SCALARS = (str, int, NoneType)  # int includes bool; a float may be NaN

# Below every limit of the libraries that write, read and show JSON, and of Python's stack.
_MAX_DEPTH = 500


def encode_text(text: str) -> str:
    """Return the stored form of a text.

    Raises:
        InvalidTypeError: The text is no ``str``.
    """
    if not isinstance(text, str):
        raise InvalidTypeError(f"text must be a str, not {type(text).__name__}")
    if "\0" in text or _MARK in text or not (text.isascii() or _is_unicode(text)):
        return _TO_MARK.sub(lambda found: f"{_MARK}{ord(found[0]):04x}", text)
    return text


def decode_text(stored: str) -> str:
    """Return the text for its stored form; the inverse of :func:`encode_text`."""
    if _MARK in stored:
        if stored == MARKED_EMPTY_TEXT:
            return ""
        return _MARKED.sub(lambda found: chr(int(found[1], 16)), stored)
    return stored


def decode_texts(column: Sequence[str | None]) -> Sequence[str | None]:
    """Return the texts of a column, read as by :func:`decode_text`; None stays."""
    if any(map(contains, filter(None, column), repeat(_MARK))):  # one search in C for most columns
        return [None if it is None else decode_text(it) for it in column]
    return column


def has_mark(text: str) -> bool:
    """Return whether the text contains the mark, which is always escaped."""
    return _MARK in text


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class WrittenJSON(NamedTuple):
    """The text of a JSON value, encoded before the call waits: later changes have no effect."""

    text: str


def write_object(name: str, value: object) -> WrittenJSON:
    """Return ``value`` as it is now, written, if it is a ``dict`` that JSON can hold."""
    if not isinstance(value, dict):
        raise InvalidTypeError(f"{name} must be a dict, not {type(value).__name__}")
    return WrittenJSON(dump_json(value))


def write_value(value: object) -> WrittenJSON:
    """Return ``value`` as it is now, written, if JSON can hold it; None is JSON's ``null``."""
    return WrittenJSON(dump_json(value))


def dump_json(value: object) -> str:
    """Return the stored form of a JSON value: compact text.

    It keeps the order of keys, integers of any size and the exact value of floats.

    Raises:
        InvalidValueError: The value contains what JSON cannot represent (NaN, bytes, a cycle, a key
            that is no ``str`` …), or is nested deeper than 500 levels.
    """
    if not isinstance(value, _SCALARS):
        _require_json(value, _MAX_DEPTH)
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer beyond 64 bits, or a lone surrogate
        pass
    try:
        written = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    except ValueError as exc:  # an integer with more digits than Python converts to text
        raise InvalidValueError(f"the value cannot be written as JSON: {exc}") from exc
    return _STDLIB_MARK + encode_text(written)


def load_json(stored: str) -> Any:
    """Return the JSON value for its stored form; the inverse of :func:`dump_json`."""
    if stored.startswith(_STDLIB_MARK):
        return json.loads(decode_text(stored))
    return orjson.loads(stored)


def load_jsons(column: Sequence[str | None]) -> Sequence[Any]:
    """Return the values of a column, read as by :func:`load_json`; None stays."""
    read, mark = orjson.loads, _STDLIB_MARK
    return [None if it is None else read(it) if it[0] != mark else load_json(it) for it in column]


def show_json(value: object) -> str:
    """Return a JSON value as readable text: indented by 2, without escaped letters."""
    with suppress(TypeError):  # an integer beyond 64 bits, or a lone surrogate
        shown = orjson.dumps(value, option=orjson.OPT_INDENT_2)
        if not _EXPONENT.search(shown):
            return shown.decode()
    return json.dumps(value, indent=2, ensure_ascii=False)


def _require_json(node: object, levels_left: int) -> None:
    """Raise for what orjson changes silently (NaN, UUID, dataclasses) or refuses.

    Args:
        node: None of ``_SCALARS``, which need no call.
        levels_left: How deep it may be nested.
    """
    if levels_left == 0:
        raise InvalidValueError(
            f"the value is nested deeper than {_MAX_DEPTH} levels, or contains itself"
        )
    children: Iterable[object] = ()
    if isinstance(node, dict):
        for key in node:
            if not isinstance(key, str):
                raise InvalidValueError(f"a key in JSON is text, not {type(key).__name__}")
        children = node.values()
    elif isinstance(node, list | tuple):
        children = node
    elif not isinstance(node, float):
        # The value is not shown: it may be a secret.
        raise InvalidValueError(f"JSON has no {type(node).__name__}: it cannot be stored")
    elif not math.isfinite(node):
        raise InvalidValueError(f"JSON has no {node}: it cannot be stored exactly")
    for child in children:
        if not isinstance(child, _SCALARS):
            _require_json(child, levels_left - 1)


def json_equal(left: object, right: object) -> bool:
    """Return whether two JSON values are equal: ``1`` equals ``1.0``, ``true`` is not ``1``."""
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, bool) or isinstance(other, bool):
            if one is not other:
                return False
        elif isinstance(one, dict) and isinstance(other, dict):
            if one.keys() != other.keys():
                return False
            pairs += ((one[key], other[key]) for key in one)
        elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
            if len(one) != len(other):
                return False
            pairs += zip(one, other, strict=True)
        elif one != other:
            return False
    return True
