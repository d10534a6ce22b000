"""Text and JSON to what any database keeps unchanged, and back: what goes in comes out."""

import json
import math
import reprlib
from typing import Any

import orjson

from slack_agents_sqlalchemy.errors import InvalidTypeError, InvalidValueError

# Text is stored as it is. Where a database could not hold it (NUL, lone surrogates), and where it
# begins with the mark itself, the mark and the text as a JSON string literal are stored instead.
# U+FDD0 is a code point that Unicode reserves for internal use: no text in interchange has it.
_MARK = "\ufdd0"

# JSON that orjson cannot write or read exactly begins with a space, which JSON ignores.
_STDLIB_MARK = " "

# Below every limit of the libraries that write, read and show JSON, and of Python's stack.
_MAX_DEPTH = 500


def encode_text(text: str) -> str:
    """Return ``text`` as a database can hold it: itself, but for the few texts that need a mark.

    Raises:
        InvalidTypeError: It is no ``str``.
    """
    if not isinstance(text, str):
        raise InvalidTypeError(f"text must be a str, not {type(text).__name__}")
    if "\0" in text or text.startswith(_MARK) or not (text.isascii() or _is_unicode(text)):
        return _MARK + json.dumps(text)
    return text


def decode_text(stored: str) -> str:
    """Return the text that :func:`encode_text` was given."""
    if stored.startswith(_MARK):
        return str(json.loads(stored[len(_MARK) :]))
    return stored


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def dump_json(value: object) -> str:
    """Write a JSON object as compact text that :func:`load_json` reads back equal.

    Keys keep their order, integers of any size and floats their exact value.

    Raises:
        InvalidTypeError: The value is no ``dict``.
        InvalidValueError: It holds something that JSON cannot (NaN, bytes, a cycle, a key that is
            no ``str`` …), or is nested deeper than 500 levels.
    """
    if not isinstance(value, dict):
        raise InvalidTypeError(f"the value must be a dict, not {type(value).__name__}")
    _require_json(value, _MAX_DEPTH)
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer beyond 64 bits, or a lone surrogate
        pass
    try:
        return _STDLIB_MARK + json.dumps(value, separators=(",", ":"))
    except ValueError as exc:  # an integer of more digits than Python converts to text
        raise InvalidValueError(f"the value cannot be written as JSON: {exc}") from exc


def load_json(stored: str) -> Any:
    """Return the object that :func:`dump_json` was given."""
    if stored.startswith(_STDLIB_MARK):
        return json.loads(stored)
    return orjson.loads(stored)


def _require_json(node: object, levels_left: int) -> None:
    """Raise for what orjson would bend silently (NaN, UUID, dataclasses) or refuse."""
    if node is None or isinstance(node, str | int):
        return
    if levels_left == 0:
        raise InvalidValueError(
            f"the value is nested deeper than {_MAX_DEPTH} levels, or contains itself"
        )
    if isinstance(node, dict):
        for key, child in node.items():
            if not isinstance(key, str):
                raise InvalidValueError(
                    f"a key in JSON is text: {reprlib.repr(key)} is of type {type(key).__name__}"
                )
            _require_json(child, levels_left - 1)
    elif isinstance(node, list | tuple):
        for child in node:
            _require_json(child, levels_left - 1)
    elif not isinstance(node, float):
        raise InvalidValueError(
            f"JSON has no {type(node).__name__}: {reprlib.repr(node)} cannot be stored"
        )
    elif not math.isfinite(node):
        raise InvalidValueError(f"JSON has no {node}: it cannot be stored exactly")


def json_equal(left: object, right: object) -> bool:
    """Compare two JSON values as JSON does: ``1`` equals ``1.0``, ``true`` is not ``1``."""
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
