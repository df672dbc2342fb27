"""Documents read in child processes with limits on memory and time, so that no file can take a worker down.

A child reads one document after another. One that dies, runs out of time or memory, or calls a document hostile is
replaced. Small documents in formats that are read in linear time by our own code skip the trip.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import orjson

from weir.documents.child import LENGTH, READY
from weir.documents.cut import check_size, cut_document
from weir.documents.media_types import MediaType, read_media_type
from weir.documents.types import Chunk, Cut, CutDocument, Limits, Section, Window
from weir.errors import BadDocument, Unavailable

IN_PROCESS = frozenset({MediaType.PASSAGES, MediaType.QA, MediaType.TEXT})
IN_PROCESS_BYTES = 64 * 1024
"""About 3 ms of the event loop for passages, 8 ms for text; the trip to a child costs 0.5 ms."""

_START_SECONDS = 30.0
_KILL_GRACE = 2.0  # the child's own alarm comes first; this is for one that cannot even be interrupted
_LONGEST_REPLY = 2**30
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LANG", "LC_ALL")  # and so none of our secrets


class Sandbox:
    """`async with Sandbox() as sandbox: document = await sandbox.cut(...)`. Children start when first needed."""

    def __init__(self, *, processes: int = 2, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._free = asyncio.Semaphore(processes)
        self._idle: list[_Child] = []

    async def cut(
        self, content: bytes, media_type: str, *, document_id: str, cut: Cut, title: str = "", file_name: str = ""
    ) -> CutDocument:
        """As `cut_document`, under all the limits.

        Raises:
            BadDocument: as `cut_document`; `hostile` when the child ran out of time or memory or died.
            Unavailable: no child process can be started.
        """
        kind, _ = read_media_type(media_type)
        check_size(content, self._limits)
        if kind in IN_PROCESS and len(content) <= IN_PROCESS_BYTES:
            return cut_document(content, media_type, document_id=document_id, cut=cut, title=title, file_name=file_name,
                                limits=self._limits)
        header = orjson.dumps({
            "media_type": media_type, "document_id": document_id, "cut": asdict(cut), "title": title,
            "file_name": file_name, "limits": asdict(self._limits),
        })
        async with self._free:
            while True:
                child = self._idle.pop() if self._idle else await _Child.start(self._limits)
                kept = False
                try:
                    document = await child.ask(header, content)
                    kept = True
                    return document
                except BadDocument as e:
                    kept = e.reason != "hostile"
                    raise
                except _Died as e:
                    if child.served == 1:
                        raise BadDocument("hostile", e.args[0]) from e
                    # What an earlier document left behind in this child may be to blame: a new one decides.
                finally:
                    if kept and not child.worn:
                        self._idle.append(child)
                    else:
                        child.kill()

    async def close(self) -> None:
        """Ends the idle children. Call it when no `cut` is running."""
        while self._idle:
            self._idle.pop().kill()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.close()


class _Died(Exception):
    """The child ended in the middle of a document; the message is for the publisher."""


class _Child:
    def __init__(self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
                 seconds: float) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._seconds = seconds
        self.served = 0
        self.worn = False
        """What earlier documents left in memory might be charged to the next one."""

    @classmethod
    async def start(cls, limits: Limits) -> _Child:
        process, ours = _spawn(limits)
        reader, writer = await asyncio.open_connection(sock=ours)
        child = cls(process, reader, writer, limits.seconds)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await reader.readexactly(len(READY))
        except (TimeoutError, asyncio.IncompleteReadError, OSError) as e:
            child.kill()
            raise Unavailable("the process that reads documents does not start: look for its error in the log; its "
                              "memory limit may be too small for its libraries.", retry_after=5) from e
        except BaseException:
            child.kill()
            raise
        return child

    async def ask(self, header: bytes, content: bytes) -> CutDocument:
        """Raises BadDocument, or _Died where the child has ended."""
        self.served += 1
        try:
            async with asyncio.timeout(self._seconds + _KILL_GRACE):
                self._writer.writelines([LENGTH.pack(len(header)), header, LENGTH.pack(len(content)), content])
                await self._writer.drain()
                length, = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
                if length > _LONGEST_REPLY:
                    raise BadDocument("hostile", "the document grows beyond all measure when it is read: split it.")
                reply = orjson.loads(await self._reader.readexactly(length))
        except TimeoutError as e:
            raise BadDocument("hostile", self._too_slow()) from e
        except (asyncio.IncompleteReadError, OSError) as e:
            ended = self._ended()
            if ended == -signal.SIGALRM:
                raise BadDocument("hostile", self._too_slow()) from e
            raise _Died(f"reading the document broke its process (status {ended}), by too much memory or a fault in "
                        "the file: open it in the program that made it, save it again and publish that.") from e
        self.worn = reply["worn"]
        if "reason" in reply:
            raise BadDocument(reply["reason"], reply["message"])
        return _document(reply["document"])

    def _ended(self) -> int:
        """The exit status, which follows the closed socket within microseconds; negative for a signal."""
        try:
            return self._process.wait(_KILL_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def kill(self) -> None:
        self._writer.close()
        self._process.kill()
        self._process.wait()

    def _too_slow(self) -> str:
        return f"reading the document took more than {self._seconds:g} seconds: split or simplify it."


def _spawn(limits: Limits) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", "weir.documents.child", str(theirs.fileno()), str(limits.memory_bytes),
                   str(limits.seconds)]
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment,
                                       pass_fds=[theirs.fileno()], start_new_session=True)
        except OSError as e:
            ours.close()
            raise Unavailable(f"cannot start the process that reads documents: {e}.", retry_after=5) from e
    return process, ours


def _document(value: Any) -> CutDocument:
    """A CutDocument from its JSON."""
    return CutDocument(
        value["title"],
        tuple(Section(s["ordinal"], tuple(s["heading_path"]), s["text"]) for s in value["sections"]),
        tuple(
            Chunk(
                c["ordinal"], c["section"], c["text"], c["context"], c["start"], c["end"], c["passage_id"],
                tuple(Window(w["ordinal"], w["text"]) for w in c["windows"]),
            )
            for c in value["chunks"]
        ),
    )
