"""Which offset of a partition may be committed while records finish in any order."""

from __future__ import annotations

from collections import deque


class Offsets:
    """The records of one partition that were read and are not finished.

    Invariant: `position` is at most the offset of every unfinished record, and never falls.
    """

    def __init__(self) -> None:
        self._read: deque[int] = deque()
        self._finished: set[int] = set()
        self._position: int | None = None
        self._next = 0
        """Before this offset everything was read."""

    def read(self, offset: int) -> None:
        """A record was read. Offsets rise; gaps (compaction, transaction markers) are normal.

        Raises:
            ValueError: the offset does not rise.
        """
        if offset < self._next:
            raise ValueError(f"offset {offset} was read after {self._next - 1}")
        self._next = offset + 1
        self._read.append(offset)

    def finish(self, offset: int) -> None:
        """A record is done with: its effects are durable."""
        self._finished.add(offset)
        while self._read and self._read[0] in self._finished:
            first = self._read.popleft()
            self._finished.remove(first)
            self._position = self._read[0] if self._read else self._next

    def ended(self, offset: int) -> None:
        """Every record before `offset` was read: the partition ends here.

        What lies between the last record and the end (a transaction's marker, say) holds nothing that must be read
        again, so that a group that has done everything is seen to be at the end.
        """
        self._next = max(self._next, offset)
        if not self._read:
            self._position = self._next

    @property
    def position(self) -> int | None:
        """The offset to commit: that of the first record that must be read again. None while nothing is finished."""
        return self._position

    @property
    def unfinished(self) -> int:
        return len(self._read) - len(self._finished)
