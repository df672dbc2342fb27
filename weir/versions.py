"""Version numbers in order: 2.10 comes after 2.9. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)(?:[-.]?((?:a|alpha|b|beta|pre|rc|dev)[.\d]*))?(?:\+[\w.]+)?", re.IGNORECASE)

Key = tuple[tuple[int, ...], tuple[int, str]]


def version_key(text: str) -> Key | None:
    """What orders a version among others; None where the text is none.

    Zeros at the end do not count (2.0 is 2), a build's name behind `+` neither; 3.0-rc1 comes before 3.0.
    """
    found = _VERSION.fullmatch(text.strip())
    if found is None or len(text) > 64:
        return None
    numbers = [int(part) for part in found[1].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    before = (found[2] or "").lower()
    return tuple(numbers), (0, re.sub(r"\d+", lambda m: f"{int(m[0]):09d}", before)) if before else (1, "")


def are_versions(texts: Iterable[str]) -> bool:
    """Whether a field with these values holds versions: most of them are some, and one at least has a dot."""
    texts = list(texts)
    versions = [text for text in texts if version_key(text) is not None]
    return 2 * len(versions) > len(texts) and any("." in text for text in versions)


def between(texts: Iterable[str], low: str | None, high: str | None, *, low_included: bool = True,
            high_included: bool = True) -> list[str]:
    """Those of the texts that are versions between two others, in order; None leaves an end open."""
    least, most = version_key(low) if low else None, version_key(high) if high else None
    found = []
    for text in texts:
        key = version_key(text)
        if key is None or (least is not None and (key < least or (key == least and not low_included))):
            continue
        if most is None or key < most or (key == most and high_included):
            found.append((key, text))
    return [text for _, text in sorted(found)]
