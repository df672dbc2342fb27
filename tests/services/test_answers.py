"""What becomes of a question: sources, text, citations, one end. Kafka, Elasticsearch, Milvus and Triton are real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from schemas import topics
from schemas.events import (
    Accepted,
    Cited,
    Delta,
    Done,
    Failed,
    Filter,
    FilterOp,
    Outcome,
    Person,
    Sources,
    TurnOutcome,
    Usage,
)
from tests.kit.answers import READER, Asker, turn_of
from tests.kit.pipeline import ANSWERING, INGEST, Pipeline, pipeline
from weir.answers.attempts import Effect
from weir.blobs import Blobs
from weir.kafka.follow import read_all
from weir.kafka.records import Decoder
from weir.views.turns import TurnViews

pytestmark = pytest.mark.services


CONTRACTS = {
    "thornlea.md": "# Thornlea enclosures\n\n## Notice\n\nEither party may end the Thornlea agreement with "
                   "ninety days' written notice.\n\n## Price\n\nEach enclosure costs 41 euros.",
    "brackwater.md": "# Brackwater transducers\n\n## Notice\n\nEither party may end the Brackwater agreement with "
                     "thirty days' written notice.\n\n## Price\n\nEach transducer costs 17 euros.",
    "board.md": "# Board minutes\n\nThe board decided to close the Nordhavn office in March.",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def library() -> AsyncIterator[Pipeline]:
    async with pipeline() as made:
        made.start(*INGEST, *ANSWERING, "streams.watchdog")
        sent = {name: await made.publish(name, text, media_type="text/markdown",
                                         groups=["board"] if name == "board.md" else ["everyone"])
                for name, text in CONTRACTS.items()}
        for name, delivery in sent.items():
            await made.searchable(name, delivery.offset)
        yield made
        await made.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asker(library: Pipeline) -> AsyncIterator[Asker]:
    async with Asker(library.settings, library.producer) as made:
        yield made


module_loop = pytest.mark.asyncio(loop_scope="module")


@module_loop
async def test_a_question_streams_back_a_cited_answer(library: Pipeline, asker: Asker) -> None:
    answer = await asker.ask("How many days of notice end the Thornlea agreement?")
    ended = await asker.ended(answer)
    kinds = [type(frame.body) for _, frame, _ in asker.effects[answer]]
    assert kinds[:3] == [Accepted, Sources, Delta] and kinds[-1] is Done and Cited in kinds
    done = ended.terminal
    assert isinstance(done, Done) and done.outcome is Outcome.ANSWERED and done.model == "extractive"
    assert "ninety days' written notice" in done.text
    deltas = "".join(f.body.text for _, f, _ in asker.effects[answer] if isinstance(f.body, Delta))
    assert deltas == done.text
    first = done.citations[0]
    source = next(s for s in done.sources if s.number == first.source)
    assert done.text[first.start:first.end] == source.text[first.quote_start:first.quote_end]
    assert done.index == "main" and done.timings["first_text"] > 0

    turn = await turn_of(TurnViews(library.es, library.settings), answer)
    assert (turn.text, turn.outcome, turn.attempts) == (done.text, TurnOutcome.ANSWERED, 1)
    decoder = Decoder(library.settings, Blobs(library.settings))
    used = [decoder.now(raw) for raw in await asyncio.to_thread(read_all, library.settings,
                                                                library.topic(topics.USAGE))]
    assert [r.event.kind for r in used if r and isinstance(r.event, Usage) and r.event.turn == answer] == ["answer"]


@module_loop
async def test_what_the_sources_do_not_hold_is_said_to_be_missing(asker: Asker) -> None:
    ended = await asker.ended(await asker.ask("Who won the football world cup of 1998?"))
    assert isinstance(ended.terminal, Done) and ended.terminal.outcome is Outcome.NOT_IN_SOURCES
    assert not ended.terminal.citations


@module_loop
async def test_a_follow_up_takes_what_it_leaves_out_from_the_turn_that_it_follows(asker: Asker) -> None:
    first = await asker.ask("How many days of notice end the Thornlea agreement?", conversation="talk")
    await asker.ended(first)
    ended = await asker.ended(await asker.ask("And Brackwater?", conversation="talk", follows=first))
    assert isinstance(ended.terminal, Done) and "thirty days" in ended.terminal.text


@module_loop
async def test_a_turn_of_another_person_is_no_history(asker: Asker) -> None:
    first = await asker.ask("How many days of notice end the Thornlea agreement?", conversation="hers")
    await asker.ended(first)
    other = Person(subject="other", groups=["everyone"])
    ended = await asker.ended(await asker.ask("And Brackwater?", conversation="hers", follows=first, person=other))
    assert isinstance(ended.terminal, Done)
    assert any("could not be read" in notice for notice in ended.terminal.notices)


@module_loop
async def test_nobody_is_answered_from_a_document_of_another_group(asker: Asker) -> None:
    question = "What did the board decide about the Nordhavn office?"
    ended = await asker.ended(await asker.ask(question))
    assert isinstance(ended.terminal, Done)
    assert "board.md" not in {s.document for s in ended.terminal.sources} and "March" not in ended.terminal.text
    member = Person(subject="member", groups=["board"])
    ended = await asker.ended(await asker.ask(question, person=member))
    assert isinstance(ended.terminal, Done) and "March" in ended.terminal.text


@module_loop
async def test_a_search_ends_with_its_sources(asker: Asker) -> None:
    answer = await asker.ask("transducer price", search_only=True, explain=True, limit=2)
    ended = await asker.ended(answer)
    assert isinstance(ended.terminal, Done) and ended.terminal.outcome is Outcome.SEARCHED
    assert ended.terminal.sources[0].document == "brackwater.md" and ended.terminal.explain
    assert [type(f.body) for _, f, _ in asker.effects[answer]] == [Accepted, Sources, Done]


@module_loop
async def test_the_same_request_twice_is_answered_once(library: Pipeline, asker: Asker) -> None:
    first = await asker.ask("What does an enclosure cost?", conversation="twice", request="one")
    again = await asker.ask("What does an enclosure cost?", conversation="twice", request="one")
    assert first == again
    await asker.ended(first)
    await turn_of(TurnViews(library.es, library.settings), first)
    await asker.ask("What does an enclosure cost?", conversation="twice", request="one")
    await asker.ended(await asker.ask("What does a transducer cost?", conversation="twice"))
    assert sum(isinstance(f.body, Accepted) for _, f, _ in asker.effects[first]) == 1


@module_loop
async def test_a_wrong_filter_is_told_to_the_person(asker: Asker) -> None:
    wrong = Filter(field="year", op=FilterOp.GTE, values=["soon"])
    ended = await asker.ended(await asker.ask("What does an enclosure cost?", filters=[wrong]))
    assert isinstance(ended.terminal, Failed)
    assert (ended.terminal.code, ended.terminal.retriable) == ("bad_request", False)


@module_loop
async def test_a_successor_finishes_what_a_cancelled_worker_began(library: Pipeline, asker: Asker) -> None:
    await library.stop("streams.answers")
    asked = [await asker.ask("What does an enclosure cost?", person=READER) for _ in range(8)]
    library.start("streams.answers")
    for answer in asked:
        ended = await asker.ended(answer)
        assert isinstance(ended.terminal, Done) and "41 euros" in ended.terminal.text
        ends = [f for e, f, _ in asker.effects[answer] if e is not Effect.IGNORED and isinstance(f.body, Done | Failed)]
        assert len(ends) == 1
