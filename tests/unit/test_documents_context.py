"""Contexts and windows, against values worked out by hand from the retrieval recipe's definition."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.documents.code import code_contexts, looks_like_code
from weir.documents.context import place_of
from weir.documents.cut import cut_document
from weir.documents.types import Cut, CutDocument, embedded_text
from weir.documents.windows import windows

CUT = Cut("test")

RUST = """\
//! Segments of the log on disk.
//! One file each.
use std::fs::File;

pub struct Segment {
    base: u64,
}

pub(crate) enum Mode { Read, Write }

impl<T: Send> Drop for Segment where T: Copy {
    fn drop(&mut self) {
        let x = 1;
        let y = 2;
    }
}

fn open(path: &str) -> Segment {
    todo()
}
"""


def passages(texts: list[str], document_id: str, titles: list[str | None], title: str = "") -> CutDocument:
    items = [
        {"id": f"p{n}", "text": text} | ({} if own is None else {"title": own})
        for n, (text, own) in enumerate(zip(texts, titles, strict=True))
    ]
    content = json.dumps({"passages": items}).encode()
    return cut_document(content, "application/x-passages+json", document_id=document_id, cut=CUT, title=title)


def test_a_passage_keeps_its_id_its_text_and_its_own_title() -> None:
    long = "The sensor hangs above the river. " * 100
    document = passages([long, "  second\n"], "doc", ["Sensors", ""], title="Handbook")
    found = [(c.passage_id, c.text, c.context) for c in document.chunks]
    assert found == [("p0", long, "Sensors"), ("p1", "  second\n", "")]
    assert [document.sections[c.section].text[c.start:c.end] for c in document.chunks] == [long, "  second\n"]


def test_a_passage_that_names_no_title_has_the_documents() -> None:
    assert passages(["text"], "doc", [None], title="Handbook").chunks[0].context == "Handbook"
    assert passages(["text"], "doc", [None]).chunks[0].context == ""


@pytest.mark.parametrize(("document_id", "place"), [
    ("https://docs.example.org/en/docs/build-with/tool-use", "build with > tool use"),
    ("https://example.org/en/api/errors", "api > errors"),
    ("https://example.org/a-b/c", "example.org > a b > c"),
    ("finance", ""),
])
def test_an_address_gives_its_path_as_the_place(document_id: str, place: str) -> None:
    assert place_of(document_id) == place
    if place:
        assert passages(["text"], document_id, ["Errors"]).chunks[0].context == f"{place} > Errors"


def test_code_carries_its_header_its_types_and_the_open_scopes() -> None:
    starts = [RUST.index(part) for part in ("//!", "impl", "let x", "let y", "fn open", "todo")]
    about = "Segments of the log on disk. One file each.. defines Segment, Mode"
    # A scope is open from the line after its own; `impl<T: Send> Drop for Segment where` is cut at `where`.
    assert list(code_contexts(RUST, starts)) == [
        about,
        about,
        f"{about}. in impl Drop for Segment / fn drop",
        f"{about}. in impl Drop for Segment / fn drop",
        f"{about}. in impl Drop for Segment / fn drop",
        f"{about}. in fn open",
    ]


def test_a_licence_is_no_header_and_functions_stand_in_for_types() -> None:
    source = "# Copyright 2020 Somebody\n\ndef first():\n    return 1\n\ndef second():\n    return 2\n"
    assert list(code_contexts(source, [0, len(source) - 4])) == [
        "defines first, second", "defines first, second. in def second",
    ]


def test_code_that_is_published_as_passages_is_recognised_over_the_whole_document() -> None:
    cuts = [RUST[:60], RUST[60:250], RUST[250:]]
    document = passages(cuts, "https://example.org/src/segment.rs", ["segment.rs"] * 3)
    whole = "\n".join(cuts)
    starts = [0, 61, 252]
    assert looks_like_code(whole)
    assert [c.context for c in document.chunks] == list(code_contexts(whole, starts))
    assert "segment.rs" not in document.chunks[0].context


def test_headings_follow_the_title_once() -> None:
    markdown = b"# Travel policy\n\nIntro.\n\n## Hotels\n\nUp to 145.\n\n### Capitals\n\nUp to 180.\n"
    document = cut_document(markdown, "text/markdown", document_id="policy", cut=CUT)
    assert [c.context for c in document.chunks] == [
        "Travel policy", "Travel policy > Hotels", "Travel policy > Hotels > Capitals",
    ]
    declared = cut_document(markdown, "text/markdown", document_id="policy", cut=CUT, title="Policy 7")
    assert declared.chunks[1].context == "Policy 7 > Travel policy > Hotels"
    page = cut_document(markdown, "text/markdown", document_id="https://intra.example/docs/travel-policy", cut=CUT)
    assert page.chunks[1].context == "travel policy > Travel policy > Hotels"


def test_the_context_stands_on_a_line_of_its_own() -> None:
    assert embedded_text("Title > Heading", "text") == "Title > Heading\ntext"
    assert embedded_text("", "text") == "text"


def test_windows_are_cut_at_lines_then_sentences_then_words() -> None:
    assert [w.text for w in windows("a" * 455)] == ["a" * 455]
    assert [w.text for w in windows("a" * 456)] == ["a" * 350, "a" * 226]
    words = "word " * 100
    assert [(len(w.text), w.text[:5]) for w in windows(words)] == [(350, "word "), (270, "word ")]
    sentences = "A sentence of thirty letters. " * 20  # 600 characters; windows end and begin at sentences
    assert [w.text for w in windows(sentences)] == [sentences[:330], sentences[210:540], sentences[420:]]


@given(st.text(alphabet="ab. \n", max_size=2000), st.integers(20, 400), st.floats(0.3, 0.7))
def test_windows_hold_every_character_in_order(text: str, size: int, share: float) -> None:
    found = windows(text, size, max(2, int(size * share)))
    assert [w.ordinal for w in found] == list(range(len(found)))
    covered = 0
    for window in found:
        at = text.find(window.text, max(0, covered - size))
        assert 0 <= at <= covered
        assert len(window.text) <= max(size, int(size * 1.3))
        covered = max(covered, at + len(window.text))
    assert covered == len(text)


def test_a_recipe_without_windows_has_none() -> None:
    document = cut_document(b"text " * 300, "text/plain", document_id="d", cut=Cut("plain", windows=False))
    assert len(document.chunks) > 1
    assert all(c.windows == () for c in document.chunks)
