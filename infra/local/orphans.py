"""Finds and ends what a supervisor left behind when it was killed.

Every child carries a mark in its environment, random and kept in the home, and so do its own children. A process is
ours if and only if it has that mark: no pid file to go stale, no pid reused by somebody else's process.
"""

from __future__ import annotations

import os
import secrets
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

VARIABLE = "SUPERVISED_BY_WEIR"


def mark(home: Path) -> str:
    """This home's mark, made at the first use."""
    file = home / "run" / "mark"
    file.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError), os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(secrets.token_hex(16))
    return file.read_text()


def carries(pid: int, mark_: str) -> bool:
    try:
        return f"{VARIABLE}={mark_}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def find(mark_: str) -> list[int]:
    """Pids of all living processes with the mark, this one apart."""
    pids = (int(p.name) for p in Path("/proc").glob("[0-9]*"))
    return [pid for pid in pids if pid != os.getpid() and carries(pid, mark_)]


def end(mark_: str, grace: float, say: Callable[[str], None]) -> int:
    """Ends them all: SIGTERM, and SIGKILL for those that are left after the grace. Returns how many there were."""
    handles = {}
    for pid in find(mark_):
        with suppress(OSError):
            handle = os.pidfd_open(pid)
            # Asked again through the handle's process: the pid may have changed hands in between.
            if carries(pid, mark_):
                handles[pid] = handle
            else:
                os.close(handle)
    if handles:
        say(f"ending {len(handles)} processes that an earlier supervisor left behind")
    _signal(handles, signal.SIGTERM)
    _wait(handles, grace)
    _signal(handles, signal.SIGKILL)
    _wait(handles, 10.0)
    for handle in handles.values():
        os.close(handle)
    return len(handles)


def _signal(handles: dict[int, int], number: signal.Signals) -> None:
    for handle in handles.values():
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)


def _wait(handles: dict[int, int], timeout: float) -> None:
    """Returns when all have ended, at the latest after the time-out in seconds."""
    open_ = set(handles.values())
    poll = select.poll()
    for handle in open_:
        poll.register(handle, select.POLLIN)
    steps = max(1, int(timeout * 10))
    for _ in range(steps):
        for handle, _event in poll.poll(100):
            poll.unregister(handle)
            open_.discard(handle)
        if not open_:
            return
