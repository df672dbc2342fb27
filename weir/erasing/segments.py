"""The files that a broker keeps a partition in, read as they lie on the disk.

What a consumer is given is what the broker still wants to tell; what has not left the disk is more: segments that wait
to be deleted, records of aborted transactions, records below the log's start. So the proof reads the files.

Source of the format: Apache Kafka 4.3, "Message Format" (record batch v2), and `LogFileUtils` for the files' names.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from weir.errors import Unavailable
from weir.kafka.records import Raw
from weir.settings import Settings

HEADER = 61
"""Bytes of a batch before its records."""
CODEC, CONTROL = 0x07, 0x20
"""Bits of a batch's attributes."""
NONE, GZIP = 0, 1
NAMES = ("none", "gzip", "snappy", "lz4", "zstd")


@dataclass(frozen=True, slots=True)
class Sealed:
    """A batch that only a client of the broker can open."""

    partition: int
    codec: str


def log_folder(settings: Settings) -> Path | None:
    """The folder of the local broker's partitions; None where the broker is not this machine's."""
    folder = settings.home.absolute() / "data" / "kafka"
    return folder if not settings.kafka and (folder / "meta.properties").exists() else None


def partition_folders(folder: Path, topic: str) -> dict[int, list[Path]]:
    """Where a topic's partitions lie, folders that wait for their deletion included."""
    # `topic-3`, and `topic-3.4f1c...-delete` once the topic was deleted.
    pattern = re.compile(re.escape(topic) + r"-(\d+)(\.\w+-delete)?")
    found: dict[int, list[Path]] = {}
    for path in folder.iterdir():
        if (match := pattern.fullmatch(path.name)) is not None:
            found.setdefault(int(match[1]), []).append(path)
    return found


def read_segments(folder: Path, topic: str, partition: int) -> Iterator[Raw | Sealed]:
    """Every record in the files of a partition's folder: open segments, closed ones, and those that the cleaner or the
    retention has put aside and not removed yet.

    Raises:
        Unavailable: a file cannot be read, or is not made of record batches of version 2.
    """
    for path in sorted(folder.iterdir()):
        if ".log" not in path.suffixes:
            continue
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue  # the broker has removed it since it was listed
        except OSError as e:
            raise Unavailable(f"cannot read {path.name} of {topic}/{partition}: {e}") from e
        try:
            yield from _batches(data, topic, partition)
        except (ValueError, IndexError, zlib.error) as e:
            raise Unavailable(f"{path.name} of {topic}/{partition} is no segment of record batches: {e}") from e


def _batches(data: bytes, topic: str, partition: int) -> Iterator[Raw | Sealed]:
    at = 0
    while at + HEADER <= len(data):
        offset, length = _int(data, at, 8), _int(data, at + 8, 4)
        end = at + 12 + length
        if length <= 0 or end > len(data):
            return  # the broker is writing here
        if data[at + 16] != 2:
            raise ValueError(f"a batch of version {data[at + 16]}")
        attributes, count = _int(data, at + 21, 2), _int(data, at + 57, 4)
        codec = attributes & CODEC
        if not attributes & CONTROL:
            if codec in (NONE, GZIP):
                body = data[at + HEADER:end]
                body = body if codec == NONE else zlib.decompress(body, 31)
                yield from _records(body, count, offset, _int(data, at + 27, 8), topic, partition)
            else:
                yield Sealed(partition, NAMES[codec] if codec < len(NAMES) else str(codec))
        at = end


def _records(body: bytes, count: int, offset: int, timestamp: int, topic: str, partition: int) -> Iterator[Raw]:
    at = 0
    for _ in range(count):
        length, at = _varint(body, at)
        end = at + length
        delta_time, at = _varint(body, at + 1)
        delta, at = _varint(body, at)
        key, at = _bytes(body, at)
        value, at = _bytes(body, at)
        headers: dict[str, bytes | None] = {}
        many, at = _varint(body, at)
        for _ in range(many):
            name, at = _bytes(body, at)
            headers[(name or b"").decode(errors="replace")], at = _bytes(body, at)
        yield Raw(topic, partition, offset + delta, key, value, {n: v or b"" for n, v in headers.items()},
                  timestamp + delta_time)
        if at != end:
            raise ValueError(f"the record {offset + delta} is {length} bytes long and ends elsewhere")


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = _varint(data, at)
    if length < 0:
        return None, at
    if at + length > len(data):
        raise ValueError("a record goes on behind its batch")
    return data[at:at + length], at + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag number of variable length, and where it ends."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number >> 1 ^ -(number & 1), at
        shift += 7


def _int(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at:at + size], "big", signed=True)
