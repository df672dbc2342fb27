"""The process in which `sandbox.py` reads documents: `python -m weir.documents.child SOCKET MEMORY_BYTES SECONDS`.

    parent -> child   length of the header, header (JSON), length of the content, content
    child -> parent   READY once; then for each document a length and {"document": ...} or {"reason", "message"}

Nothing here trusts itself: the kernel ends the process when it takes too much time (SIGALRM, which stops C code too),
refuses it more memory, and lets it write neither a file nor a core.
"""

from __future__ import annotations

import resource
import signal
import socket
import struct
import sys
from typing import BinaryIO, cast

import orjson

from weir.documents.cut import cut_document
from weir.documents.types import Cut, Limits
from weir.errors import BadDocument

LENGTH = struct.Struct(">Q")
READY = b"weir"


def main(descriptor: int, memory_bytes: int, seconds: float) -> None:
    connection = socket.socket(fileno=descriptor)
    stream = cast(BinaryIO, connection.makefile("rwb"))
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    stream.write(READY)
    stream.flush()
    while header := _read(stream):
        signal.setitimer(signal.ITIMER_REAL, seconds)
        reply = _reply(header, _read(stream))
        signal.setitimer(signal.ITIMER_REAL, 0)
        stream.write(LENGTH.pack(len(reply)))
        stream.write(reply)
        stream.flush()


def _read(stream: BinaryIO) -> bytes:
    """One length-prefixed message; empty when the parent has gone."""
    prefix = stream.read(LENGTH.size)
    return stream.read(LENGTH.unpack(prefix)[0]) if len(prefix) == LENGTH.size else b""


def _reply(header: bytes, content: bytes) -> bytes:
    asked = orjson.loads(header)
    asked["cut"], asked["limits"] = Cut(**asked["cut"]), Limits(**asked["limits"])
    try:
        return orjson.dumps({"document": cut_document(content, **asked)})
    except BadDocument as e:
        return orjson.dumps({"reason": e.reason, "message": e.message})
    except MemoryError:
        return orjson.dumps({"reason": "hostile", "message": "the document needs too much memory: split it."})


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
