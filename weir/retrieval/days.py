"""Days, months, quarters and years as people write them, each as its first and last day. Pure."""

from __future__ import annotations

import re
from datetime import date, timedelta

_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
           "december")
_MONTH = "|".join("may" if name == "may" else f"{name[:3]}(?:{name[3:]})?" for name in _MONTHS) + "|sept"

PATTERN = "|".join([
    r"\d{4}-\d\d-\d\d", r"\d{4}-\d\d(?!\d)",
    rf"\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?(?:{_MONTH})\.?(?:,?\s+(?:19|20)\d\d)?",
    rf"(?:{_MONTH})\.?\s+\d{{1,2}}(?:st|nd|rd|th)?(?![\d.])(?:,?\s+(?:19|20)\d\d)?",
    rf"(?:{_MONTH})\.?(?:,?\s+(?:19|20)\d\d)?",
    r"q[1-4](?:\s+(?:of\s+)?(?:19|20)\d\d)?", r"(?:the\s+year\s+)?(?:19|20)\d\d(?!\s*\.\d|\d)",
    r"today|yesterday", r"(?:this|last)\s+(?:year|month|week)"])
"""A regular expression, to be matched without regard to case, of what `days` reads."""


def days(said: str, today: date) -> tuple[date, date] | None:
    """The first and the last day of what was said; None where it is no day, month, quarter or year.

    A month or quarter without a year is the last one that has begun.
    """
    text = " ".join(said.lower().replace(",", " ").replace(".", " ").split()).removeprefix("the year ")
    try:
        if text in ("today", "yesterday"):
            day = today - timedelta(days=text == "yesterday")
            return day, day
        if found := re.fullmatch(r"(this|last) (year|month|week)", text):
            return _around(today, found[2], back=found[1] == "last")
        if found := re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)", text):
            day = date(int(found[1]), int(found[2]), int(found[3]))
            return day, day
        if found := re.fullmatch(r"(\d{4})-(\d\d)", text):
            return _month(int(found[1]), int(found[2]))
        if found := re.fullmatch(r"(\d{4})", text):
            return date(int(text), 1, 1), date(int(text), 12, 31)
        if found := re.fullmatch(r"q([1-4])(?: (?:of )?(\d{4}))?", text):
            first = 3 * int(found[1]) - 2
            year = int(found[2]) if found[2] else today.year - (date(today.year, first, 1) > today)
            return date(year, first, 1), _month(year, first + 2)[1]
        return _named(text, today)
    except ValueError:
        return None


def _named(text: str, today: date) -> tuple[date, date] | None:
    """With a month's name."""
    parts = [part for part in text.split() if part != "of"]
    months = [n for part in parts for n, name in enumerate(_MONTHS, 1) if part in (name, name[:3], name[:4])]
    if len(months) != 1:
        return None
    numbers = [int(found[1]) for part in parts if (found := re.fullmatch(r"(\d+)(?:st|nd|rd|th)?", part))]
    years = [n for n in numbers if n >= 1900]
    dates = [n for n in numbers if n < 1900]
    if len(numbers) + 1 != len(parts) or len(years) > 1 or len(dates) > 1:
        return None
    year = years[0] if years else today.year - (date(today.year, months[0], dates[0] if dates else 1) > today)
    if dates:
        day = date(year, months[0], dates[0])
        return day, day
    return _month(year, months[0])


def _month(year: int, month: int) -> tuple[date, date]:
    following = date(year + month // 12, month % 12 + 1, 1)
    return date(year, month, 1), following - timedelta(days=1)


def _around(today: date, unit: str, *, back: bool) -> tuple[date, date]:
    match unit:
        case "year":
            year = today.year - back
            return date(year, 1, 1), date(year, 12, 31)
        case "month":
            first = date(today.year, today.month, 1)
            return _month(*((first - timedelta(days=1)).timetuple()[:2] if back else (today.year, today.month)))
    monday = today - timedelta(days=today.weekday() + 7 * back)
    return monday, monday + timedelta(days=6)
