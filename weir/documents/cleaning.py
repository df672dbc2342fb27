"""Bytes to clean text: encodings, control characters, line ends."""

from __future__ import annotations

import codecs
import re

from weir.errors import BadDocument

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark is its first half
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# C0 without tab and line feed, DEL, C1, the byte order mark, lone surrogates, non-characters, and the bidirectional
# overrides and isolates, which can show a text in another order than it is read. The marks that Arabic, Hebrew,
# Persian and emoji need (LRM, RLM, ZWJ, ZWNJ) stay.
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_BINARY = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_SPACES = re.compile(r"\s+")

BINARY_SHARE = 0.05
"""Above this share of control characters a file is not text; compressed data has 0.1. Escape (terminal colours in logs)
does not count."""


def clean(text: str) -> str:
    """Text with `\\n` line ends and without control characters."""
    return _UNWANTED.sub("", _LINE_ENDS.sub("\n", text))


def without_controls(text: str) -> str:
    """Text without control characters, its white space untouched: for passages, which are kept as they came."""
    return _UNWANTED.sub("", text)


def one_line(text: str, limit: int = 300) -> str:
    """A heading or title: clean, white space collapsed, at most `limit` characters."""
    line = _SPACES.sub(" ", clean(text)).strip()
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def decode(content: bytes, charset: str = "") -> str:
    """Bytes of a text file as clean text.

    A byte order mark wins, then UTF-8, then the declared `charset`, then Windows-1252. Text that is UTF-8 but for a few
    broken characters is read as UTF-8 with U+FFFD in their place.

    Raises:
        BadDocument: `mislabelled`, when the bytes are not text.
    """
    text = _clean_decoded(content, charset)
    if len(_BINARY.findall(text)) > BINARY_SHARE * len(text):
        raise BadDocument("mislabelled", "declared as text but holds binary data: publish it with its real media type.")
    return clean(text)


def _clean_decoded(content: bytes, charset: str) -> str:
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return content[len(mark):].decode(encoding, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if charset:
        try:
            return content.decode(charset)
        except (LookupError, UnicodeError):
            pass
    text = content.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    whole = sum(1 for c in text if c > "\x7f") - broken
    return text if broken <= whole / 10 else content.decode("windows-1252", "replace")
