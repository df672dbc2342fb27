"""A record on its way through a worker."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from weir.kafka.handlers import GiveUp
from weir.kafka.offsets import Offsets
from weir.kafka.records import Raw, Record

Partition = tuple[str, int]
"""Topic, as named on the broker, and number."""


@dataclass(eq=False, slots=True)
class Assignment:
    """One stay of a partition with this worker. It coming back later is another one."""

    partition: Partition
    offsets: Offsets = field(default_factory=Offsets)
    leaving: bool = False
    """True once the partition is being handed over: nothing starts any more."""
    released: bool = False
    """True once it has left: nothing that still runs may count."""
    running: set[asyncio.Task[None]] = field(default_factory=set)
    waiting: set[Item] = field(default_factory=set)
    """Items that wait for their next try."""
    offered: int | None = None
    """The position that was last offered for commit."""


@dataclass(eq=False, slots=True)
class Item:
    """A record that was read, until it is finished or its partition leaves."""

    assignment: Assignment
    offset: int
    """Where it stands in the assignment's partition."""
    size: int
    """Bytes, as it was read."""
    raw: Raw
    """The record to work on; for a replay the original one."""
    replay: bool = False
    """True while `raw` is still the envelope from `replays`."""
    attempt: int = 1
    record: Record | None = None
    """`raw`, decoded."""
    lane: tuple[str, str] | None = None
    """The lane it is at the head of."""
    tries: int = 0
    failing_since: float = 0.0
    """Monotonic seconds of its first failure; 0 while there is none."""
    waiting: asyncio.TimerHandle | None = None
    handled: bool = False
    """True once the handler has returned."""
    verdict: GiveUp | None = None
    """Set once it is to become a dead letter."""
    done: bool = False
    """Finished or dropped."""
