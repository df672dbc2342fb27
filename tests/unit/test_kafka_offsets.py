"""Which offset may be committed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from weir.kafka.offsets import Offsets


class OffsetsMachine(RuleBasedStateMachine):
    """Any order of reading and finishing, with gaps in between."""

    @initialize(start=st.integers(0, 10**9))
    def begin(self, start: int) -> None:
        self.offsets = Offsets()
        self.next = start
        self.unfinished: set[int] = set()
        self.finished: set[int] = set()
        self.before: int | None = None
        self.ends: set[int] = set()

    @rule(gap=st.integers(0, 5), count=st.integers(1, 10))
    def read(self, gap: int, count: int) -> None:
        self.next += gap
        for _ in range(count):
            self.offsets.read(self.next)
            self.unfinished.add(self.next)
            self.next += 1

    @rule(gap=st.integers(0, 5))
    def end(self, gap: int) -> None:
        self.next += gap
        self.ends.add(self.next)
        self.offsets.ended(self.next)

    @precondition(lambda self: self.unfinished)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.unfinished)))
        self.unfinished.remove(offset)
        self.finished.add(offset)
        self.offsets.finish(offset)

    @invariant()
    def never_past_an_unfinished_record(self) -> None:
        position = self.offsets.position
        assert position is None or all(position <= offset for offset in self.unfinished)

    @invariant()
    def as_far_as_may_be(self) -> None:
        first = min(self.unfinished, default=self.next)
        done = [o + 1 for o in self.finished if o < first] + [end for end in self.ends if end <= first]
        position = self.offsets.position
        assert (position is None) == (not done)
        assert position is None or max(done) <= position <= first

    @invariant()
    def never_backwards(self) -> None:
        position = self.offsets.position
        assert self.before is None or (position is not None and position >= self.before)
        self.before = position

    @invariant()
    def counts(self) -> None:
        assert self.offsets.unfinished == len(self.unfinished)


TestOffsets = OffsetsMachine.TestCase


@given(st.permutations(range(30)))
def test_everything_finished_in_any_order_commits_the_end(order: list[int]) -> None:
    offsets = Offsets()
    for offset in range(30):
        offsets.read(offset)
    for offset in order:
        offsets.finish(offset)
    assert offsets.position == 30


def test_an_offset_that_does_not_rise_is_refused() -> None:
    offsets = Offsets()
    offsets.read(5)
    with pytest.raises(ValueError, match="offset 5 was read after 5"):
        offsets.read(5)
    offsets.finish(5)
    with pytest.raises(ValueError, match="offset 3 was read after 5"):
        offsets.read(3)
    offsets.ended(8)
    with pytest.raises(ValueError, match="offset 6 was read after 7"):
        offsets.read(6)
    assert offsets.position == 8


def test_an_end_that_was_passed_already_changes_nothing() -> None:
    offsets = Offsets()
    offsets.read(7)
    offsets.ended(7)
    assert offsets.position is None
    offsets.finish(7)
    assert offsets.position == 8
