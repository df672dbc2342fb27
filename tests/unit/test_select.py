"""From ranked passages to the context of an answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Source
from weir.retrieval.select import PARENT_CHARS, SectionKey, one_version_each, section_of, select, shortened

SECTION = "First sentence of it. Second sentence of it. Third sentence of it. Fourth sentence."


def source(number: int, document: str, section: int, start: int, end: int, text: str) -> Source:
    return Source(number=number, chunk=f"chunk-{document}-{section}-{start}", document=document, version=1, title="",
                  heading_path=[], text=text[start:end], section=section, start=start, end=end, score=10.0 - number)


def test_a_short_section_is_taken_whole() -> None:
    hit = source(1, "a", 0, 22, 44, SECTION)
    (found,) = select([hit], {section_of(hit): SECTION}, budget=1000).sources
    assert (found.text, found.start, found.end, found.chunk) == (SECTION, 0, len(SECTION), hit.chunk)


def test_a_section_that_does_not_fit_leaves_its_best_chunk() -> None:
    first, second = source(1, "a", 0, 0, 21, SECTION), source(2, "b", 0, 0, 21, "Another text entirely. " + SECTION)
    found = select([first, second], {section_of(second): "Another text entirely. " + SECTION}, budget=50).sources
    assert [f.text for f in found] == [first.text, second.text]


def test_chunks_that_touch_become_one_in_the_place_of_the_better() -> None:
    long = " ".join(f"Sentence number {n} of a long section." for n in range(100))
    assert len(long) > PARENT_CHARS
    a, b = source(1, "a", 0, 800, 1600, long), source(3, "a", 0, 1601, 2300, long)
    other = source(2, "z", 0, 0, 20, SECTION)
    found = select([a, other, b], {section_of(a): long}, budget=10_000).sources
    assert [(f.document, f.start, f.end) for f in found] == [("a", 800, 2300), ("z", 0, 20)]
    assert found[0].text == long[800:2300] and found[0].chunk == a.chunk


def test_what_a_better_passage_says_already_is_left_out() -> None:
    found = select([source(1, "a", 0, 0, 21, SECTION), source(2, "b", 0, 0, 21, SECTION)], {}, budget=1000).sources
    assert [f.document for f in found] == ["a"]


def test_the_best_passage_is_taken_even_if_it_alone_is_too_long() -> None:
    found = select([source(1, "a", 0, 0, 44, SECTION), source(2, "a", 0, 45, 66, SECTION)], {}, budget=10).sources
    assert [f.start for f in found] == [0]


def test_a_section_that_is_another_version_s_is_not_used() -> None:
    hit = source(1, "a", 0, 0, 21, SECTION)
    (found,) = select([hit], {section_of(hit): "Something else stands here now."}, budget=1000).sources
    assert found.text == hit.text


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 60), st.integers(1, 30)), min_size=1,
                max_size=12), st.integers(0, 300))
def test_every_passage_is_a_stretch_of_its_section_within_the_budget(
        spans: list[tuple[int, int, int, int]], budget: int) -> None:
    sections: dict[SectionKey, str] = {}
    hits = []
    for n, (document, section, start, length) in enumerate(spans, 1):
        text = f"{document}{section}" * 40
        hits.append(source(n, str(document), section, start, min(len(text), start + length), text))
        sections[section_of(hits[-1])] = text
    found = select(hits, sections, budget).sources
    assert [f.number for f in found] == list(range(1, len(found) + 1))
    assert all(sections[section_of(f)][f.start:f.end] == f.text for f in found)
    assert len(found) == 1 or sum(len(f.text) for f in found) <= budget


def test_of_two_versions_the_newer_is_kept() -> None:
    assert one_version_each([("a", 1), ("b", 7), ("a", 2), ("b", 6)]) == {"a": 2, "b": 7}


@given(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=10), st.integers(0, 300))
def test_long_passages_end_early_and_all_fit(texts: list[str], most: int) -> None:
    sources = [source(n, str(n), 0, 0, len(text), text) for n, text in enumerate(texts, 1)]
    found = shortened(sources, most)
    total = sum(len(text.encode()) for text in texts)
    assert sum(len(f.text.encode()) for f in found) <= max(most, 0)
    assert all(text.startswith(f.text) and f.end == len(f.text) for f, text in zip(found, texts, strict=True))
    if total <= most:
        assert found == sources
    else:  # no room is given away: a passage that ends early is among the longest, and little is left over
        assert most - sum(len(f.text.encode()) for f in found) < 5 * len(texts)
