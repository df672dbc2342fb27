"""The steps of a manifest, as pure functions."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from consumers.replacing import Arrival, newest
from weir.views.manifests import Manifest, _ranges

EMPTY = Manifest(workspace="w", document="d")


def confirmed(version: int, count: int) -> Manifest:
    return EMPTY.begun(version, count, 1).arrived([0]).confirmed().cleaned()


def test_a_pending_version_changes_nothing_that_is_confirmed() -> None:
    m = confirmed(1, 3).begun(2, 5, 2).arrived([1])
    assert (m.version, m.count, m.newest) == (1, 3, 2)
    assert m.pending is not None and not m.pending.complete
    assert m.kept == {(1, 0), (1, 1), (1, 2), *((2, n) for n in range(5))}


def test_a_confirmed_version_leaves_the_ids_before_it_to_be_deleted() -> None:
    m = confirmed(1, 3).begun(2, 2, 1).arrived([0]).confirmed()
    assert (m.version, m.count, m.pending) == (2, 2, None)
    assert m.stale == {(1, 0), (1, 1), (1, 2)}


def test_a_version_that_never_arrived_whole_is_deleted_with_the_one_before_it() -> None:
    m = confirmed(1, 1).begun(2, 4, 3).arrived([0, 1]).begun(3, 1, 1).arrived([0]).confirmed()
    assert m.stale == {(1, 0), *((2, n) for n in range(4))}


def test_a_shorter_reading_of_the_same_version_deletes_only_what_it_lacks() -> None:
    m = confirmed(7, 5).begun(7, 3, 1).arrived([0]).confirmed()
    assert m.stale == {(7, 3), (7, 4)} and m.count == 3


def test_a_deletion_takes_everything_that_may_be_there() -> None:
    m = confirmed(1, 2).begun(2, 2, 2).arrived([0]).removed(3)
    assert m.deleted and (m.version, m.count, m.pending) == (3, 0, None)
    assert m.stale == {(1, 0), (1, 1), (2, 0), (2, 1)}


def test_what_came_too_late_never_takes_what_is_kept() -> None:
    m = confirmed(5, 2).begun(6, 1, 1).abandoned(5, 4)
    assert m.stale == {(5, 2), (5, 3)}


steps = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(1, 3), st.integers(0, 4)), max_size=12)


@given(steps)
def test_every_id_that_was_ever_written_is_kept_or_will_be_deleted(taken: list[tuple[int, int, int, int]]) -> None:
    m, written = EMPTY, set()
    for version, count, parts, arrived in taken:
        if version < m.newest:
            continue
        if arrived == 4:
            m = m.removed(version)
            continue
        m = m.begun(version, count, parts)
        written |= {(version, n) for n in range(count)}
        m = m.arrived(range(arrived))
        if m.pending and m.pending.complete:
            m = m.confirmed()
    assert written <= m.kept | m.stale


@given(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 20))))
def test_ranges_hold_exactly_the_ids(ids: set[tuple[int, int]]) -> None:
    assert {(v, n) for v, start, end in _ranges(ids) for n in range(start, end)} == ids


def test_a_batch_brings_the_newest_version_with_all_its_parts() -> None:
    part = Arrival(name=("w", "d"), version=2, payload="a", count=9, part=0, parts=2)
    works = newest([replace(part, version=1, payload="old"), part, replace(part, part=1, payload="b"),
                    replace(part, version=1, payload="old again")])
    assert works["w", "d"].version == 2 and works["w", "d"].payloads == {0: "a", 1: "b"}


def test_of_one_version_that_was_read_and_then_refused_the_refusal_counts() -> None:
    cut = Arrival(name=("w", "d"), version=2, payload="a", count=1)
    refusal: Arrival[str] = Arrival(name=("w", "d"), version=2, payload=None)
    assert newest([cut, refusal])["w", "d"].deleted
    assert not newest([refusal, cut])["w", "d"].deleted
