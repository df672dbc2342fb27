"""What the two JSON formats share: reading, and saying which part has the wrong shape."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from weir.errors import BadDocument


def load(content: bytes) -> object:
    """Raises BadDocument `unreadable`: not JSON, not UTF-8, or nested deeper than orjson reads (1,024)."""
    try:
        value: object = orjson.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as e:
        raise BadDocument("unreadable", f"this is not valid JSON ({e}): correct it.") from e
    return value


def text_of(item: object, key: str, where: str, *, optional: bool = False) -> str:
    """The string `item[key]`; empty where it is optional and absent or null.

    Raises:
        BadDocument: `unreadable`; the message says which item and what was expected.
    """
    if not isinstance(item, Mapping):
        raise BadDocument("unreadable", f"{where} must be an object, not {_kind(item)}: correct it.")
    value = item.get(key)
    if isinstance(value, str):
        return value
    if value is None and optional:
        return ""
    what = "nothing" if value is None else _kind(value)
    raise BadDocument("unreadable", f"{where}: `{key}` must be a string, not {what}: correct it.")


def _kind(value: object) -> str:
    return {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}.get(type(value), "a number or null")
