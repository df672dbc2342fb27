"""Markers leave the text; a citation leaves when its sentence is complete and its source supports it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Citation, Cited, Delta, Source
from weir.answers.citations import Marked, MarkerParser, citation
from weir.answers.release import INTERVAL, Released, release
from weir.models.protocol import Asked, ModelUnavailable, NotInSources, Piece, Quote, Text, Usage, Vectors

NOTICE = "Either party may end it with ninety days' notice. The fee is 40 euros a month."


def source(number: int, text: str = NOTICE, title: str = "Contract") -> Source:
    return Source(number=number, chunk=str(number), document="d", version=1, title=title, heading_path=[], text=text,
                  section=0, start=0, end=len(text), score=1.0)


def parsed(pieces: Sequence[str]) -> tuple[str, list[Marked]]:
    parser, text, marked = MarkerParser(), "", []
    for piece in pieces:
        out, found = parser.feed(piece)
        text += out
        for each in found:
            assert each.end <= len(text), "a citation never runs ahead of its text"
        marked += found
    out, found = parser.finish()
    assert parser.text == text + out
    return text + out, marked + found


@pytest.mark.parametrize(("written", "text", "cited"), [
    ("The fee is 40 euros [1].", "The fee is 40 euros.", ["The fee is 40 euros."]),
    ("The fee is 40 euros. [1] It rises.", "The fee is 40 euros. It rises.", ["The fee is 40 euros."]),
    ("One. Two [1, 2]. Three", "One. Two. Three", ["Two."]),
    ("- A fee [1]\n- A price [2]\n", "- A fee\n- A price", ["- A fee", "- A price"]),
    ("No end [3]", "No end", ["No end"]),
    ("Both [1][2] hold.", "Both hold.", ["Both hold.", "Both hold."]),
    ("See [the annex] and x[i].", "See [the annex] and x[i].", []),
])
def test_markers_become_citations_of_their_sentence(written: str, text: str, cited: list[str]) -> None:
    for pieces in ([written], list(written), [written[:7], written[7:]]):
        got, marked = parsed(pieces)
        assert got == text
        assert [got[m.start:m.end] for m in marked] == cited


@given(st.text(alphabet="ab .[1,2]\n!", max_size=60), st.lists(st.integers(1, 9), max_size=20))
def test_how_the_characters_arrive_changes_nothing(written: str, sizes: list[int]) -> None:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(written[at:at + size])
        at += size
    pieces.append(written[at:])
    whole_text, whole = parsed([written])
    text, marked = parsed(pieces)
    assert text == whole_text
    assert [(m.start, m.sources) for m in marked] == [(m.start, m.sources) for m in whole]


def test_the_model_says_first_that_the_sources_do_not_hold_it() -> None:
    parser = MarkerParser()
    assert parser.feed("[no")[0] == ""
    assert parser.feed("ne] The sources")[0] == "The sources" and parser.not_in_sources


async def never(texts: Sequence[str]) -> Vectors:
    raise AssertionError("words alone decide here")


async def test_a_sentence_is_supported_by_the_stretch_that_holds_its_words() -> None:
    text = "You must give ninety days' notice."
    found = await citation(text, Marked(0, len(text), (1,)), source(1), never)
    assert found is not None and NOTICE[found.quote_start:found.quote_end].startswith("Either party")


async def test_a_figure_that_the_source_does_not_have_is_not_supported() -> None:
    text = "The fee is 45 euros a month."
    assert await citation(text, Marked(0, len(text), (1,)), source(1), never) is None


async def test_other_words_are_supported_where_the_vectors_agree() -> None:
    async def embed(texts: Sequence[str]) -> Vectors:
        return np.array([[1, 0], [0.9, 0.4], [0, 1]], dtype=np.float32)

    text = "Termination requires a quarter of forewarning."
    found = await citation(text, Marked(0, len(text), (1,)), source(1), embed)
    assert found is not None and found.quote_start == 0
    assert await citation(text, Marked(0, len(text), (1,)), source(1), None) is None


async def released(pieces: Sequence[Piece | float], sources: Sequence[Source], patience: float = 5.0,
                   ) -> tuple[list[tuple[float, Delta | Cited]], Released]:
    """What leaves, and when; a number among the pieces is a pause in seconds."""
    async def stream() -> AsyncGenerator[Piece, None]:
        for piece in pieces:
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                yield piece

    timer, out = asyncio.get_running_loop().time, Released()
    began = timer()
    got = [(timer() - began, body) async for body in release(stream(), Asked("?", sources), out, timer, patience)]
    return got, out


async def test_the_first_text_leaves_at_once_and_the_rest_in_beats() -> None:
    pieces: list[Piece | float] = [Text("The "), *(p for _ in range(30) for p in (0.004, Text("word ")))]
    got, out = await released(pieces, [])
    times = [at for at, body in got if isinstance(body, Delta)]
    assert times[0] < 0.02
    assert all(b - a > INTERVAL * 0.8 for a, b in itertools.pairwise(times[:-1]))
    assert 3 <= len(times) <= 12
    assert "".join(b.text for _, b in got if isinstance(b, Delta)) == out.text == "The " + "word " * 29 + "word"


async def test_a_citation_leaves_behind_its_text_and_one_without_support_is_dropped() -> None:
    pieces = [Text("The fee is 40 euros a month"), Text(" [1]. It was 90 euros [1]. Nobody [7].")]
    got, out = await released(pieces, [source(1)])
    said = ""
    for _, body in got:
        if isinstance(body, Delta):
            assert body.position == len(said)
            said += body.text
        else:
            assert body.citation.end <= len(said)
    assert [said[c.start:c.end] for c in out.citations] == ["The fee is 40 euros a month."]
    assert out.unsupported == 2


async def test_a_quote_is_its_own_citation_even_where_it_looks_like_a_marker() -> None:
    text = "See [1] for the fee."
    got, out = await released([Text("It says: "), Quote(1, 0, len(text)), Text(" "), Usage(3, 4), Quote(1, 0, 3)],
                              [source(1, text)])
    assert out.text == "It says: See [1] for the fee. See"
    assert out.citations == [Citation(source=1, start=9, end=29, quote_start=0, quote_end=20),
                             Citation(source=1, start=30, end=33, quote_start=0, quote_end=3)]
    assert out.usage == Usage(3, 4) and isinstance(got[-1][1], Cited)


async def test_what_is_not_in_the_sources_is_noted() -> None:
    _, out = await released([NotInSources(), Text("Nothing here.")], [])
    assert out.not_in_sources and out.text == "Nothing here."


async def test_a_model_that_falls_silent_is_not_waited_for() -> None:
    with pytest.raises(ModelUnavailable):
        await released([Text("The "), 5.0, Text("end")], [], patience=0.05)
