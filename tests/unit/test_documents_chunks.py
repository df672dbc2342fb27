"""Chunks: nothing is lost, nothing is too long, offsets point at the text."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.documents.chunks import spans
from weir.documents.cut import cut_document
from weir.documents.types import Cut, Limits
from weir.errors import BadDocument

LINES = ["def f():", "    return x;", "", "class A {", "# note", "  }", "word " * 9]
TEXTS = st.one_of(
    st.text(max_size=600),
    st.text(alphabet="ab.!? \n\t#|-", max_size=1500),
    st.lists(st.sampled_from(LINES), max_size=60).map("\n".join),
)


def solid(text: str) -> str:
    return "".join(text.split())


@given(TEXTS, st.integers(1, 120), st.booleans())
def test_chunks_lose_nothing_and_never_exceed_the_limit(text: str, limit: int, code: bool) -> None:
    found = spans(text, limit, code=code)
    assert solid("".join(text[a:b] for a, b in found)) == solid(text)
    assert all(0 < b - a <= limit and text[a:b].strip() for a, b in found)
    assert all(b <= c for (_, b), (c, _) in itertools.pairwise(found))
    assert found == spans(text, limit, code=code)


@given(st.text(max_size=3000).filter(lambda t: t.strip() and "\x00" not in t))
def test_offsets_point_at_exactly_the_chunks_text(text: str) -> None:
    content = text.encode("utf-8", "ignore")
    try:
        document = cut_document(content, "text/plain", document_id="d", cut=Cut("test", chunk_chars=100))
    except BadDocument as e:
        assert e.reason in ("empty", "mislabelled")  # nothing but control characters
        return
    assert [c.ordinal for c in document.chunks] == list(range(len(document.chunks)))
    for chunk in document.chunks:
        assert document.sections[chunk.section].text[chunk.start:chunk.end] == chunk.text
        assert len(chunk.text) <= 100
    assert document == cut_document(content, "text/plain", document_id="d", cut=Cut("test", chunk_chars=100))


def pieces(text: str, limit: int, *, code: bool = False) -> list[str]:
    return [text[a:b] for a, b in spans(text, limit, code=code)]


def test_paragraphs_stay_whole_while_they_fit() -> None:
    one, two, three = "First paragraph. It has two sentences.", "Second paragraph.", "Third one, short."
    assert pieces(f"{one}\n\n{two}\n\n{three}", 60) == [f"{one}\n\n{two}", three]
    assert pieces(f"{one}\n\n{two}\n\n{three}", 40) == [one, f"{two}\n\n{three}"]


def test_a_long_paragraph_is_cut_at_sentences_and_a_long_sentence_at_words() -> None:
    assert pieces("One sentence here. Another one! A third?", 20) == ["One sentence here.", "Another one!", "A third?"]
    assert pieces("alpha beta gamma delta", 11) == ["alpha beta", "gamma delta"]
    assert pieces("第一句话。第二句话。", 6) == ["第一句话。", "第二句话。"]


def test_table_rows_are_whole_when_they_fit() -> None:
    rows = [f"Article: A{n}; Price: {n}.50; Note: sold by the piece. In stock." for n in range(30)]
    assert [row for chunk in pieces("\n".join(rows), 200) for row in chunk.split("\n")] == rows


def test_code_is_cut_in_front_of_definitions_and_keeps_its_indentation() -> None:
    source = "import x\n\n" + "\n\n".join(
        f"# about f{n}\n@cached\ndef f{n}(a):\n    b = a + {n}\n\n    return b * 1000" for n in range(6)
    )
    found = pieces(source, 150, code=True)
    assert all(chunk.startswith(("import", "# about f")) for chunk in found)
    assert all(chunk.endswith("return b * 1000") for chunk in found)
    tight = pieces(source, 40, code=True)
    assert "    b = a + 0\n\n    return b * 1000" in tight
    assert {line for chunk in tight for line in chunk.split("\n")} == set(source.split("\n"))


@pytest.mark.parametrize("grapheme", ["e\u0301", "👩‍👩‍👧", "👍🏽", "🇩🇪"])
def test_a_cut_without_spaces_never_divides_what_a_reader_sees_as_one(grapheme: str) -> None:
    for limit in range(12, 30):
        for chunk in pieces(grapheme * 40, limit):
            assert chunk == grapheme * (len(chunk) // len(grapheme))


def test_too_many_chunks_are_refused() -> None:
    with pytest.raises(BadDocument) as refused:
        cut_document(b"word " * 2000, "text/plain", document_id="d", cut=Cut("t", chunk_chars=10),
                     limits=Limits(max_chunks=50))
    assert refused.value.reason == "oversized"
    assert "WEIR_MAX_DOCUMENT_CHUNKS" in refused.value.message
    with pytest.raises(BadDocument) as refused:
        cut_document(b"word " * 2000, "text/plain", document_id="d", cut=Cut("t"), limits=Limits(max_bytes=9999))
    assert refused.value.reason == "oversized"
