"""When a version that is being built counts as built."""

from __future__ import annotations

import pytest

from weir.index.groups import Place
from weir.index.progress import SLACK, Progress


def progress(documents: int, of_documents: int, behind: int = 0, live_behind: int = 0, rows: int = 0,
             of_rows: int | None = None, at: float = 0.0) -> Progress:
    return Progress(version="v2", rows=rows, of_rows=of_rows, documents=documents, of_documents=of_documents,
                    places=[Place("vectors@v2", "embeddings.v2", behind, 1000)], live_behind=live_behind, at=at)


@pytest.mark.parametrize(("documents", "behind", "live_behind", "complete"), [
    (100, 0, 0, True),
    (100, SLACK, 0, True),
    (100, SLACK + 1, 0, False),
    (99, 0, 0, False),  # nothing is left to read, and a document is missing
    (97, 30, 20, True),  # documents change: neither is at the end, and it is as far as the live one
    (97, 50, 20, False),
    (1, 100, 80, False),  # a crash has thrown the live one back: that makes a version of one document no better
])
def test_a_version_is_built_when_it_is_as_far_as_the_live_one(documents: int, behind: int, live_behind: int,
                                                            complete: bool) -> None:
    assert progress(documents, 100, behind, live_behind).complete is complete


def test_an_empty_index_is_complete_at_once() -> None:
    assert progress(0, 0).complete and progress(0, 0).share == 1.0


def test_rate_and_time_left_are_taken_since_an_earlier_look() -> None:
    before, now = progress(5, 20, rows=100, of_rows=400, at=10.0), progress(10, 20, rows=200, of_rows=400, at=20.0)
    assert (now.share, now.rate(before), now.seconds_left(before)) == (0.5, 10.0, 20.0)
    assert now.seconds_left(now) is None
    # A document that the live version loses is no progress of this one.
    assert progress(5, 20, rows=100, of_rows=390, at=20.0).seconds_left(before) is None
    # Where documents are cut anew, nobody knows how many vectors there will be: documents are counted.
    assert progress(5, 20, rows=100).share == 0.25
