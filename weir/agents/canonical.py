"""One form for arguments: what is equal reads the same, and what is not (1, 1.0, true) never does."""

from __future__ import annotations

from typing import Any

import orjson


def canonical(value: Any) -> str:
    """`value` as JSON with sorted keys and no spaces.

    Raises:
        TypeError: it holds something that JSON has no word for.
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def recanonical(text: str) -> str:
    """JSON in any form, as canonical JSON.

    Raises:
        ValueError: it is not JSON.
    """
    return canonical(orjson.loads(text))
