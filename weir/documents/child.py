"""The process in which `sandbox.py` reads documents: `python -m weir.documents.child SOCKET MEMORY_BYTES SECONDS`.

    parent -> child   length of the header, header (JSON), length of the content, content
    child -> parent   READY once; for each document a length and {"worn", "document"} or {"worn", "reason", "message"}

`worn` says that the process has used so much memory that it should read no other document.

Nothing here trusts itself: the kernel ends the process when it takes too much time (SIGALRM, which stops C code too),
refuses it more memory, and lets it write neither a file nor a core.
"""

from __future__ import annotations

import re
import resource
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import BinaryIO, cast

import orjson

from weir.documents.cut import cut_document
from weir.documents.parse import load_formats
from weir.documents.types import Cut, Limits
from weir.errors import BadDocument

LENGTH = struct.Struct(">Q")
READY = b"weir"

_WORN, _FULL = 0.5, 0.9  # of the memory limit
_TOO_LARGE = "the document needs too much memory to be read: split or simplify it."


def main(descriptor: int, memory_bytes: int, seconds: float) -> None:
    connection = socket.socket(fileno=descriptor)
    stream = cast(BinaryIO, connection.makefile("rwb"))
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    load_formats()  # now, so that what the libraries themselves need is never charged to a document
    stream.write(READY)
    stream.flush()
    while header := _read(stream):
        signal.setitimer(signal.ITIMER_REAL, seconds)
        reply = _reply(header, _read(stream), memory_bytes)
        signal.setitimer(signal.ITIMER_REAL, 0)
        stream.write(LENGTH.pack(len(reply)))
        stream.write(reply)
        stream.flush()


def _read(stream: BinaryIO) -> bytes:
    """One length-prefixed message; empty when the parent has gone."""
    prefix = stream.read(LENGTH.size)
    return stream.read(LENGTH.unpack(prefix)[0]) if len(prefix) == LENGTH.size else b""


def _reply(header: bytes, content: bytes, memory_bytes: int) -> bytes:
    asked = orjson.loads(header)
    asked["cut"], asked["limits"] = Cut(**asked["cut"]), Limits(**asked["limits"])
    try:
        document = cut_document(content, **asked)
        return orjson.dumps({"document": document, "worn": _memory_peak() > _WORN * memory_bytes})
    except MemoryError:
        reason, message = "hostile", _TOO_LARGE
    except BadDocument as e:
        reason, message = e.reason, e.message
    peak = _memory_peak()
    if reason == "unreadable" and peak > _FULL * memory_bytes:  # lxml calls it "unknown error"
        reason, message = "hostile", _TOO_LARGE
    return orjson.dumps({"reason": reason, "message": message, "worn": peak > _WORN * memory_bytes})


def _memory_peak() -> int:
    """The most address space that this process has had, in bytes; 0 where the kernel does not say."""
    status = Path("/proc/self/status").read_text()
    peak = re.search(r"VmPeak:\s*(\d+) kB", status)
    return int(peak[1]) * 1024 if peak else 0


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
