"""What an erased text is recognised by without being kept: salted hashes of stretches of it.

A receipt must let anybody look for what was erased and must not hold it. So a text is reduced to its letters and digits
(in small letters, without the escapes of JSON, so that a copy inside another format is the same) and cut into stretches
of 24 bytes. Two hashes of each are kept: one that rolls over megabytes in no time finds candidates, a salted SHA-256
confirms them. A quotation of 50 letters holds a whole stretch, wherever it begins.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

STRETCH = 24
"""Bytes of a stretch."""
SHORTEST = 12
"""A text of fewer letters and digits says too little to be recognised by."""
VARIED = 6
"""Different bytes that a stretch must have: rows of zeros stand everywhere."""
MOST = 8192
"""Stretches of one erasure; of longer texts some are left out, evenly."""
BLOCK = 1 << 20
"""Bytes hashed at a time."""

Stretch = tuple[int, int]
"""Length in bytes and rolling hash."""
Longs = npt.NDArray[np.uint64]

_ESCAPE = re.compile(rb"\\u([0-9a-fA-F]{4})|\\[nrtbf\"\\/]")
_DROPPED = bytes(b for b in range(128) if chr(b) not in string.ascii_letters + string.digits)
_SMALL = bytes(ord(chr(b).lower()) if b < 128 else b for b in range(256))


def plain(data: bytes) -> bytes:
    """Letters and digits alone, small; what is not ASCII stays as it is."""
    if b"\\" in data:
        data = _ESCAPE.sub(lambda m: chr(int(m[1], 16)).encode(errors="ignore") if m[1] else b"", data)
    return data.translate(_SMALL, _DROPPED)


@dataclass(frozen=True, slots=True)
class Traces:
    """The stretches of some texts. `Traces.of(texts)` makes them; `to_json` and `from_json` keep them."""

    salt: str
    """16 random bytes, hexadecimal: without them nobody can look the hashes up in a table."""
    known: dict[int, dict[int, bytes]] = field(default_factory=dict)
    """By length, by rolling hash: the first 8 bytes of the salted SHA-256."""

    @classmethod
    def of(cls, texts: Iterable[bytes], salt: str | None = None) -> Traces:
        """The traces of texts; the same texts with the same salt have the same ones."""
        made = cls(salt or secrets.token_hex(16))
        stretches = {piece for text in texts for piece in _pieces(plain(text)) if len(set(piece)) >= VARIED}
        chosen = sorted(stretches, key=made._confirm)[:MOST]  # by hash: evenly, and the same ones each time
        for piece in chosen:
            made.known.setdefault(len(piece), {})[made._rolling(piece)] = made._confirm(piece)
        return made

    def __len__(self) -> int:
        return sum(map(len, self.known.values()))

    def __or__(self, other: Traces) -> Traces:
        """Both, of the same salt."""
        assert self.salt == other.salt
        lengths = self.known.keys() | other.known.keys()
        return Traces(self.salt, {n: self.known.get(n, {}) | other.known.get(n, {}) for n in lengths})

    def without(self, stretches: set[Stretch]) -> Traces:
        return Traces(self.salt, {n: {h: c for h, c in of.items() if (n, h) not in stretches}
                                  for n, of in self.known.items()})

    def found(self, data: bytes) -> set[Stretch]:
        """The stretches that stand in some bytes, however these are formatted."""
        found: set[Stretch] = set()
        if not len(self):
            return found
        text = plain(data)
        for length, of in self.known.items():
            if of:
                wanted = np.fromiter(of, np.uint64, len(of))
                for at in range(0, max(1, len(text) - length + 1), BLOCK):
                    found |= self._in_block(text[at:at + BLOCK + length - 1], length, wanted, of)
        return found

    def _in_block(self, text: bytes, length: int, wanted: Longs, of: dict[int, bytes]) -> set[Stretch]:
        if len(text) < length:
            return set()
        hashes = self._windows(text, length)
        return {(length, int(hashes[i])) for i in np.flatnonzero(np.isin(hashes, wanted)).tolist()
                if of[int(hashes[i])] == self._confirm(text[i:i + length])}

    def _rolling(self, piece: bytes) -> int:
        return int(self._windows(piece, len(piece))[0])

    def _windows(self, text: bytes, length: int) -> Longs:
        """The polynomial hash, modulo 2^64, of every window of `length` bytes: differences of one running sum, each
        divided by the power that it begins with, which an odd base allows."""
        base = int(self.salt, 16) << 1 | 1
        forward, back = _powers(base, len(text)), _powers(pow(base, -1, 1 << 64), len(text))
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(
            (np.frombuffer(text, np.uint8).astype(np.uint64) + np.uint64(1)) * forward, dtype=np.uint64)])
        return np.asarray((sums[length:] - sums[:-length]) * back[:len(text) - length + 1], np.uint64)

    def _confirm(self, piece: bytes) -> bytes:
        return hashlib.sha256(bytes.fromhex(self.salt) + piece).digest()[:8]

    def to_json(self) -> dict[str, object]:
        return {"salt": self.salt, "stretches": {
            str(n): base64.b64encode(b"".join(h.to_bytes(8, "big") + c for h, c in sorted(of.items()))).decode()
            for n, of in self.known.items() if of}}

    @classmethod
    def from_json(cls, value: dict[str, object]) -> Traces:
        """
        Raises:
            ValueError, KeyError, TypeError, AttributeError: it is not what `to_json` made.
        """
        known: dict[int, dict[int, bytes]] = {}
        stretches = value["stretches"]
        assert isinstance(stretches, dict)
        for n, packed in stretches.items():
            data = base64.b64decode(packed, validate=True)
            known[int(n)] = {int.from_bytes(data[i:i + 8], "big"): data[i + 8:i + 16] for i in range(0, len(data), 16)}
        return cls(str(value["salt"]), known)


def _pieces(text: bytes) -> Iterator[bytes]:
    if len(text) < STRETCH:
        if len(text) >= SHORTEST:
            yield text
        return
    for at in range(0, len(text) - STRETCH + 1, STRETCH):
        yield text[at:at + STRETCH]
    yield text[-STRETCH:]


def _powers(base: int, count: int) -> Longs:
    """1, base, base^2, ... modulo 2^64."""
    powers = np.full(count, base % (1 << 64), np.uint64)
    powers[:1] = 1
    return np.cumprod(powers, dtype=np.uint64)
