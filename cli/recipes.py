"""Parameters of retrieval on the command line."""

from __future__ import annotations

from collections.abc import Sequence

from weir.errors import BadRequest


def parsed(given: Sequence[str] | None) -> dict[str, float]:
    """
    Raises:
        BadRequest: one is not NAME=NUMBER.
    """
    found = {}
    for pair in given or ():
        name, _, value = pair.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise BadRequest(f"{pair!r} is no parameter: say NAME=NUMBER, such as dense_weight=0.6.") from None
    return found
