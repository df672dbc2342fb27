"""Time as a value that is passed in."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime

Clock = Callable[[], int]
"""Milliseconds since the epoch."""


def system_clock() -> int:
    """The machine's clock, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def day_of(milliseconds: int) -> date:
    """The day of a moment, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).date()
