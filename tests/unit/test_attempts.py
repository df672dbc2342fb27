"""The log's order decides which attempt of an answer is live; every reader comes to the same single end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.events import (
    Accepted,
    AnswerFrame,
    Citation,
    Cited,
    Delta,
    Done,
    Failed,
    Outcome,
    Person,
    Sources,
)
from weir.answers.attempts import Answer, Effect

ADA = Person(subject="ada", groups=["legal"])


def frame(attempt: str, seq: int, body: object, at: int = 0) -> AnswerFrame:
    return AnswerFrame(answer="a", conversation="c", attempt=attempt, seq=seq, at=at, body=body)  # type: ignore[arg-type]  # any kind of body


def attempt_frames(attempt: str, pieces: list[str], *, fails: bool = False) -> list[AnswerFrame]:
    """All frames of one attempt that says `pieces`."""
    citation = Citation(source=1, start=0, end=1, quote_start=0, quote_end=1)
    bodies: list[object] = [Accepted(question="why?", workspace="w", person=ADA, asked_at=1), Sources(sources=[])]
    position = 0
    for piece in pieces:
        bodies += [Delta(text=piece, position=position), Cited(citation=citation)]
        position += len(piece)
    bodies.append(Failed(code="unavailable", message="no", retriable=True) if fails else
                  Done(outcome=Outcome.ANSWERED, text="".join(pieces), sources=[], model="m",
                       citations=[citation] * len(pieces)))
    return [frame(attempt, seq, body, at=seq) for seq, body in enumerate(bodies)]


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[AnswerFrame], dict[str, list[str]]]:
    """A partition where attempts interleave, any of them cut off or repeated, and the last one is whole."""
    says = {f"attempt-{i}": draw(st.lists(st.text(min_size=1, max_size=4), max_size=5))
            for i in range(draw(st.integers(1, 4)))}
    names = list(says)
    queues = [attempt_frames(name, pieces, fails=draw(st.booleans())) for name, pieces in says.items()]
    for queue in queues[:-1]:
        del queue[draw(st.integers(0, len(queue))):]
    log: list[AnswerFrame] = []
    while any(queues):
        i = draw(st.sampled_from([i for i, q in enumerate(queues) if q]))
        # The last attempt is the one that a live worker began after all the others had.
        if i == len(names) - 1 and any(q and isinstance(q[0].body, Accepted) for q in queues[:-1]):
            i = next(j for j, q in enumerate(queues[:-1]) if q and isinstance(q[0].body, Accepted))
        log.append(queues[i].pop(0))
        if draw(st.booleans()) and draw(st.booleans()):
            log.append(draw(st.sampled_from(log)))
    return log, says


@given(logs())
def test_any_interleaving_of_attempts_has_exactly_one_end_and_the_text_of_one_attempt(
        case: tuple[list[AnswerFrame], dict[str, list[str]]]) -> None:
    log, says = case
    answer, ends, shown = Answer(), 0, ""
    for each in log:
        was_ended = answer.ended
        effect = answer.apply(each)
        assert effect is Effect.IGNORED or not was_ended
        if effect is Effect.RESET:
            shown = ""
        if effect is not Effect.IGNORED:
            assert each.attempt == answer.attempt
            shown += each.body.text if isinstance(each.body, Delta) else ""
            ends += isinstance(each.body, Done | Failed)
        if isinstance(answer.terminal, Failed) or not answer.ended:
            assert "".join(says.get(answer.attempt, [])).startswith(answer.text)
    assert ends == 1
    assert answer.text == shown == "".join(says[answer.attempt])
    if isinstance(answer.terminal, Done):
        assert len(answer.citations) == len(says[answer.attempt])


@given(logs(), st.data())
def test_whoever_joins_in_the_middle_sees_the_same_as_whoever_read_it_all(
        case: tuple[list[AnswerFrame], dict[str, list[str]]], data: st.DataObject) -> None:
    log, _ = case
    whole, joined = Answer(), None
    join = data.draw(st.integers(0, len(log) - 1))
    for i, each in enumerate(log):
        effect = whole.apply(each)
        if joined is not None and not joined.ended:
            seen = joined.apply(each)
            assert effect is seen
        if i >= join and joined is None and effect is not Effect.IGNORED and not whole.ended:
            joined = Answer.at(each.attempt, each.seq, whole.text)
            joined._seen |= whole._seen
    if joined is not None:
        assert (joined.text, joined.attempt, joined.terminal) == (whole.text, whole.attempt, whole.terminal)


def test_a_frozen_worker_that_goes_on_writing_is_ignored() -> None:
    old, new = attempt_frames("old", ["Ten ", "days"]), attempt_frames("new", ["Thirty ", "days"])
    answer = Answer()
    for each in [*old[:3], *new[:4], *old[3:], *new[4:]]:
        answer.apply(each)
    assert answer.text == "Thirty days"
    assert answer.attempts == 2


def test_the_end_of_a_dead_attempt_does_not_end_the_answer() -> None:
    old, new = attempt_frames("old", ["x"]), attempt_frames("new", ["y"])
    answer = Answer()
    for each in [*old[:-1], new[0], old[-1]]:
        answer.apply(each)
    assert not answer.ended
    assert answer.text == ""


def test_an_attempt_with_a_missing_frame_stands_still_until_it_is_replaced() -> None:
    broken, whole = attempt_frames("broken", ["a", "b"]), attempt_frames("whole", ["a", "b"])
    answer = Answer()
    effects = [answer.apply(each) for each in broken[:3] + broken[4:]]
    assert effects[3:] == [Effect.IGNORED] * len(effects[3:])
    assert not answer.ended
    effects = [answer.apply(each) for each in whole]
    assert effects == [Effect.RESET] + [Effect.APPLIED] * (len(whole) - 1)
    assert answer.text == "ab"


def test_frames_before_anybody_took_the_question_are_ignored() -> None:
    assert Answer().apply(frame("x", 1, Delta(text="a", position=0))) is Effect.IGNORED
