"""One log file a process, kept below a size.

The processes write to their files themselves, appending, so that a file can be copied and cut while it is written to;
at most the lines between the copy and the cut are lost.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

LARGEST = 20 * 2**20
KEPT = 2


def rotate(log: Path, largest: int = LARGEST, kept: int = KEPT) -> bool:
    """Moves a log that has grown above `largest` bytes to `.1`, that one to `.2`; returns whether it did."""
    try:
        if log.stat().st_size <= largest:
            return False
    except FileNotFoundError:
        return False
    for number in range(kept, 1, -1):
        older = log.with_name(f"{log.name}.{number - 1}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number}"))
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)
    return True


def tail(log: Path, lines: int) -> list[str]:
    """The last lines of a log, at most 64 KiB of them."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 65536))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []
