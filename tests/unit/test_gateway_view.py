"""The pure parts of the gateway: what a client is told, what is withheld, who is held back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.asking import own_conversation
from gateway.chat_completions import Chunks
from gateway.limits import Limits, TokenBuckets
from gateway.openapi import specification
from gateway.outbox import BACKLOG, Outbox, SlowClient
from gateway.requests import DocumentBody, FilterBody, filters_of, parse
from gateway.wire import TERMINAL, Cursor, Received, View
from gateway.withhold import MARK, withhold
from schemas.events import (
    Accepted,
    AnswerFrame,
    Citation,
    Delta,
    Done,
    Failed,
    Outcome,
    Person,
    Source,
    Turn,
    TurnOutcome,
)
from weir.answers.attempts import Answer
from weir.errors import BadRequest, Overloaded
from weir.settings import Settings

ANN = Person(subject="ann", groups=[])


def log_of(attempts: list[list[str]], ends: list[bool], order: list[int]) -> list[Received]:
    """The records of attempts that overlap: `order` says whose frame is written next."""
    lines: list[list[AnswerFrame]] = []
    for n, (texts, good) in enumerate(zip(attempts, ends, strict=True)):
        text = "".join(texts)
        bodies: list[Any] = [Accepted(question="?", workspace="w", person=ANN, asked_at=0)]
        bodies += [Delta(text=t, position=0) for t in texts]
        bodies.append(Done(outcome=Outcome.ANSWERED, text=text, sources=[], citations=[], model="m") if good
                      else Failed(code="c", message="m", retriable=True))
        lines.append([AnswerFrame(answer="a", conversation="c", attempt=f"t{n}", seq=i, at=0, body=b)
                      for i, b in enumerate(bodies)])
    records = []
    for pick in order:
        line = lines[pick % len(lines)]
        if line:
            records.append(line.pop(0))
    records += [frame for line in lines for frame in line]
    return [Received(0, offset * 2, frame) for offset, frame in enumerate(records)]


logs = st.integers(1, 3).flatmap(lambda n: st.builds(
    log_of, st.lists(st.lists(st.text("abä\U0001F600", min_size=1, max_size=3), max_size=4), min_size=n, max_size=n),
    st.lists(st.booleans(), min_size=n, max_size=n), st.lists(st.integers(0, 2), max_size=20)))


def told(view: View, records: list[Received]) -> list[dict[str, Any]]:
    return [m for r in records if (m := view.message(r)) is not None]


def shown(messages: list[dict[str, Any]], text: str = "") -> str:
    for m in messages:
        text = {"reset": "", "delta": text + m.get("text", "")}.get(m["type"], text)
    return text


@given(logs)
def test_there_is_one_end_and_it_carries_what_was_said(log: list[Received]) -> None:
    messages = told(View(), log)
    assert [m["type"] in TERMINAL for m in messages].count(True) == 1
    assert messages[-1]["type"] in TERMINAL
    if messages[-1]["type"] == "done":
        assert shown(messages) == messages[-1]["text"]


@given(logs, st.data())
def test_what_follows_a_cursor_is_exactly_the_rest(log: list[Received], data: st.DataObject) -> None:
    messages = told(View(), log)
    cut = data.draw(st.integers(0, len(messages) - 2)) if len(messages) > 1 else 0
    if len(messages) < 2:
        return
    seen = Cursor.parse(messages[cut]["cursor"])
    at = next(i for i, r in enumerate(log) if r.cursor == seen)
    view = View(Answer.at(log[at].frame.attempt, log[at].frame.seq))
    assert told(view, log[at + 1:]) == messages[cut + 1:]


@given(logs)
def test_a_snapshot_and_the_rest_make_the_whole(log: list[Received]) -> None:
    for cut in range(1, len(log)):
        view = View()
        before = told(view, log[:cut])
        if not before or view.ended:
            continue
        snapshot = view.snapshot(log[cut - 1])
        assert shown(told(view, log[cut:]), snapshot["text"]) == shown(told(View(), log))


@pytest.mark.parametrize("text", ["", "1", "1:2", "1:2:3:4", "a:b:c", "-1:2:3", "1:2:3x"])
def test_a_wrong_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        Cursor.parse(text)


def turn(text: str, citations: list[Citation], sources: int) -> Turn:
    return Turn(turn="t", conversation="c", workspace="w", person=ANN, question="?", outcome=TurnOutcome.ANSWERED,
                text=text, citations=citations, asked_at=0, finished_at=0, sources=[
                    Source(number=n, chunk=f"c{n}", document=f"d{n}", version=0, title=f"T{n}", heading_path=["H"],
                           text=f"secret {n}", section=0, start=0, end=8, score=1) for n in range(1, sources + 1)])


def test_a_withheld_source_takes_its_lines_with_it() -> None:
    whole = turn("Open.\nAs “T2” has it: Secret!\nOpen again.", [
        Citation(source=1, start=0, end=5, quote_start=0, quote_end=1),
        Citation(source=2, start=22, end=29, quote_start=0, quote_end=1),
        Citation(source=1, start=30, end=41, quote_start=0, quote_end=1)], 2)
    left = withhold(whole, {2})
    assert left.text == f"Open.\n{MARK}\nOpen again."
    assert [left.text[c.start:c.end] for c in left.citations] == ["Open.", "Open again."]
    assert (left.sources[1].number, left.sources[1].document, left.sources[1].text, left.sources[1].title) == (
        2, "", "", "")
    assert left.sources[0] == whole.sources[0]
    assert left.notices == ["1 source is withheld: deleted, or no longer open to you."]
    assert withhold(whole, set()) is whole


@given(st.text("ab ", max_size=40), st.lists(st.tuples(st.integers(1, 3), st.integers(0, 40), st.integers(0, 40)),
                                             max_size=6), st.sets(st.integers(1, 3)))
def test_nothing_of_a_withheld_stretch_is_left(text: str, spans: list[tuple[int, int, int]], gone: set[int]) -> None:
    # Each character once, so that any leak shows; blanks end lines.
    text = "".join("\n" if c == " " else chr(0x4E00 + i) for i, c in enumerate(text))
    citations = [Citation(source=n, start=min(a, b, len(text)), end=min(max(a, b), len(text)), quote_start=0,
                          quote_end=0) for n, a, b in spans]
    before = turn(text, citations, 3)
    after = withhold(before, gone)
    hidden = set()
    for c in citations:
        if c.source in gone and c.start < c.end:
            line = text.rfind("\n", 0, c.start) + 1
            hidden |= set(range(line, c.end + len(text[c.end:].partition("\n")[0])))
    assert {c for c in after.text if ord(c) >= 0x4E00} == {
        c for i, c in enumerate(text) if i not in hidden and c != "\n"}
    kept = [c for c in citations if c.source not in gone and not hidden & set(range(c.start, c.end))]
    assert [x for c in after.citations if (x := after.text[c.start:c.end])] == [
        x for c in kept if (x := text[c.start:c.end])]


@given(st.text(min_size=1), st.text(min_size=1), st.text(), st.text())
def test_a_conversation_belongs_to_one_person(ann: str, bob: str, name: str, request: str) -> None:
    for given_name in (name, None):
        mine = own_conversation(ann, given_name, request)
        assert own_conversation(ann, mine, "other") == mine
        assert own_conversation(ann, given_name, request) == mine
        if ann != bob:
            assert own_conversation(bob, mine, request) != mine


def test_a_bucket_fills_evenly() -> None:
    now = 0.0
    buckets = TokenBuckets(60, lambda: now, burst=2)
    assert [buckets.take("a"), buckets.take("a")] == [0, 0]
    assert buckets.take("a") == pytest.approx(1.0)
    assert buckets.take("b") == 0, "one person's haste is not another's"
    now = 0.5
    assert buckets.take("a") == pytest.approx(0.5)
    now = 1.1
    assert buckets.take("a") == 0


def test_open_questions_are_limited_for_one_and_for_all() -> None:
    limits = Limits(Settings(questions_in_flight=2, open_answers=3, questions_per_minute=100), lambda: 0.0)
    for subject in ("a", "a", "b"):
        limits.open(subject)
    for subject, said in (("a", "you have 2"), ("c", "this gateway")):
        with pytest.raises(Overloaded, match=said):
            limits.open(subject)
    limits.close("a")
    limits.open("c")
    assert limits.open_answers == 3


async def test_a_client_that_does_not_read_overflows_and_one_that_reads_does_not() -> None:
    now = 0.0
    stuck, busy = Outbox(4, lambda: now), Outbox(4, lambda: now)
    for i in range(4 * BACKLOG):
        stuck.put({"i": i})
        busy.put({"i": i})
    assert [(await busy.get())["i"] for _ in range(5)] == [0, 1, 2, 3, 4]
    now = 1.0
    stuck.put({"i": -1})
    busy.sent()
    busy.put({"i": 9})
    assert stuck.overflown and not busy.overflown
    with pytest.raises(SlowClient):
        await stuck.get()


def test_chunks_never_take_back_and_never_lose_text() -> None:
    chunks = Chunks("weir", 0, usage=False)
    base = {"answer": "a"}
    sent = b"".join(chunks.encode({**base, **m}) for m in [
        {"type": "accepted"}, {"type": "delta", "text": "One "}, {"type": "reset"}, {"type": "delta", "text": "One "},
        {"type": "delta", "text": "two."}])
    assert sent.count(b'"content":"One "') == 1 and b'"content":"two."' in sent


def test_a_text_that_is_a_day_becomes_a_day() -> None:
    body = parse(DocumentBody, {"content": "x", "metadata": {"from": "2026-01-31", "n": 3, "f": 2.5, "yes": True,
                                                           "text": "2026", "list": ["a"]}})
    kinds = {k: type(v).__name__ for k, v in body.typed_metadata().items()}
    assert kinds == {"from": "date", "n": "int", "f": "float", "yes": "bool", "text": "str", "list": "list"}


def test_a_filter_is_checked_at_the_edge() -> None:
    assert filters_of([parse(FilterBody, {"field": "n", "op": "gte", "values": [3]})])[0].values == [3]
    with pytest.raises(BadRequest):
        filters_of([parse(FilterBody, {"field": "n", "op": "gte", "values": []})])


def test_the_openapi_document_names_every_body() -> None:
    document = specification()
    schemas = document["components"]["schemas"]
    for path in document["paths"].values():
        for operation in path.values():
            body = operation.get("requestBody")
            if body:
                name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                assert schemas[name]["type"] == "object"
