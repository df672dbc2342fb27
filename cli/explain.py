"""`weir search --explain`: the whole way of a question through retrieval, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

LISTED = 10
"""Chunks of each store's own list that are shown."""
WORDS = {"eq": "is", "any": "is one of", "gte": "is at least", "lte": "is at most"}


def show(console: Console, found: Mapping[str, Any]) -> None:
    """Prints what `/v1/search` explained.

    Args:
        found: its reply.
    """
    told = found["explain"]
    parts = told["parts"] or [told]
    console.print(_question(told, parts))
    for part in parts:
        if len(parts) > 1:
            console.print(f"\n[bold]part[/bold] {escape(part['query'])}")
        console.print(_lists(part), _ranking(part))
    console.print(_times(found["timings"]))


def _question(told: Mapping[str, Any], parts: list[dict[str, Any]]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")

    def row(name: str, value: str) -> None:
        table.add_row(name, escape(value))

    if told["rewritten"] != told["asked"]:
        row("made whole", told["rewritten"])
    if told["read_by"]:
        row("read by", told["read_by"])
    if told["searched"] != told["question"]:
        row("without its conditions", told["searched"])
    for f in told["filters"]:
        values = ", ".join(str(value) if value != "" else "(none there is)" for value in f["values"])
        row(f"“{f['said']}”" if f["said"] else "filter", f"{f['field']} {WORDS[f['op']]} {values}")
    for part in parts:
        row("keywords", part["keywords"])
        if part["also"]:
            row("at half their weight", part["also"])
        row("depth", f"{part['depth']} ({part['difficulty']} question), {part['candidates']} candidates")
    for name, by in told["origin"].items():
        row(f"{name} (by the {by})", f"{told['recipe'][name]:g}")
    return table


def _lists(part: Mapping[str, Any]) -> RenderableType:
    ranks = {r["chunk"]: r["rank"] for r in part["ranking"]}
    table = Table("", "by keywords", "BM25", "became", "by vectors", "cosine", "became", title="what each store found")
    lists = part["lists"]["keywords"], part["lists"]["vectors"]
    for place in range(min(LISTED, max(map(len, lists)))):
        cells: list[str] = []
        for found, digits in zip(lists, (2, 3), strict=True):
            each = found[place] if place < len(found) else None
            cells += [_place(each), "" if each["score"] is None else f"{each['score']:.{digits}f}",
                      str(ranks.get(each["chunk"], ""))] if each else ["", "", ""]
        table.add_row(str(place + 1), *cells)
    return table


def _ranking(part: Mapping[str, Any]) -> RenderableType:
    title = "as one list, in deviations of each store's" + (
        ", read again by the cross-encoder" if part["reranked"] else "")
    table = Table("", "passage", "keywords", "vectors", "besides", "score", "", title=title)
    for r in part["ranking"]:
        added = [("document", r["document_bonus"]), *r["boosts"].items()]
        besides = ", ".join(f"{name} {value:+.2f}" for name, value in added if abs(value) >= 0.005)
        weight = "" if r["dense_weight"] == 0.5 else f" x{r['dense_weight']:g}"
        again = "" if r["reranked"] is None else f" ({r['reranked']:.2f})"
        end = f"\\[{r['source']}]" if r["source"] else escape(r["left_out"] or "")
        table.add_row(str(r["rank"]), _place(r), f"{r['keyword_z']:+.2f}", f"{r['dense_z']:+.2f}{weight}", besides,
                      f"{r['score']:.2f}{again}", end, style="" if r["source"] else "dim")
    return table


def _times(timings: Mapping[str, float]) -> RenderableType:
    stages = sorted(((name, ms) for name, ms in timings.items() if name not in ("total", "retrieval")),
                    key=lambda stage: -stage[1])
    longest = max([1.0, *(ms for _, ms in stages)])
    table = Table.grid(padding=(0, 1))
    for name, ms in stages:
        table.add_row(name, f"{ms:7.1f} ms", "█" * round(30 * ms / longest))
    return Group("", f"{timings['total']:.0f} ms in all; what is asked at the same time overlaps", table)


def _place(each: Mapping[str, Any]) -> str:
    title, headings = each["title"] or each["document"] or each["chunk"], each["heading_path"]
    return escape(" > ".join([title, *(headings[1:] if headings[:1] == [title] else headings)]))
