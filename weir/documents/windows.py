"""Chunk to windows: overlapping pieces that one sentence can dominate."""

from __future__ import annotations

from weir.documents.types import Window

_BREAKS = ("\n", ". ", " ")


def windows(text: str, size: int = 350, stride: int = 230) -> tuple[Window, ...]:
    """Windows of at most `size` characters, one begun about every `stride`, cut at a line, sentence or word.

    A text of less than 1.3 times the size is one window. Together the windows hold every character of the text.
    """
    if len(text) <= size * 1.3:
        return (Window(0, text),)
    found: list[Window] = []
    start = 0
    while True:
        end = min(len(text), start + size)
        if end < len(text):
            end = _snap(text, end, start + size // 2, start + size)
        found.append(Window(len(found), text[start:end]))
        if end >= len(text):
            return tuple(found)
        following = _snap(text, start + stride, start + stride // 2, start + stride)
        start = following if following > start else start + stride


def _snap(text: str, default: int, low: int, high: int) -> int:
    for separator in _BREAKS:
        at = text.rfind(separator, low, high)
        if at != -1:
            return at + len(separator)
    return default
