"""Answers and searches that are used again, on the real servers: when, for whom, and what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from schemas import topics
from schemas.events import CacheFigures, Done, Failed, Filter, FilterOp, Person, Reuse, TurnOutcome, Workspace
from tests.kit.answers import READER, Asker, turn_of
from tests.kit.pipeline import ANSWERING, INGEST, WORKSPACE, Pipeline, pipeline
from tests.kit.waiting import until
from weir.blobs import Blobs
from weir.kafka.follow import read_all
from weir.kafka.records import Decoder
from weir.views.turns import TurnViews

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]

LEAVE = "How do I carry unused leave over?"
TEXTS = {
    "leave": "You carry unused leave over with the form in the staff portal. Your manager signs it.",
    "travel": "Trains are preferred to flights. The travel desk books every journey.",
    "parking": "The garage is open to all staff. A badge opens the gate of the garage.",
}
OTHER = Person(subject="other", groups=["everyone"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def library() -> AsyncIterator[Pipeline]:
    async with pipeline() as made:
        await allow(made, Reuse(kinds=["how", "what", "where"], semantic=True, similarity=0.8))
        made.start(*INGEST, *ANSWERING)
        for name, text in TEXTS.items():
            await put(made, name, text)
        yield made
        await made.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asker(library: Pipeline) -> AsyncIterator[Asker]:
    async with Asker(library.settings, library.producer) as made:
        yield made


async def allow(made: Pipeline, reuse: Reuse | None) -> None:
    await made.producer.send(made.topic(topics.WORKSPACES), WORKSPACE, Workspace(
        workspace=WORKSPACE, reuse=reuse, changed_at=0, changed_by="ann"))


async def put(made: Pipeline, name: str, text: str, **fields: object) -> None:
    sent = await made.publish(name, text, **fields)
    await made.searchable(name, sent.offset)


async def asked(asker: Asker, question: str, person: Person = READER, **fields: object) -> Done:
    while True:
        ended = (await asker.ended(await asker.ask(question, person=person, **fields))).terminal
        if isinstance(ended, Done):
            return ended
        # A machine that is so busy that the views lag refuses, and asks to be asked again.
        assert isinstance(ended, Failed) and ended.retriable, ended
        await asyncio.sleep(0.5)


async def kept(asker: Asker, question: str, person: Person = READER) -> Done:
    """Asks until an earlier answer comes; that answer."""
    found: list[Done] = []

    async def again() -> bool:
        found.append(await asked(asker, question, person))
        return found[-1].earlier is not None

    await until(again, f"an earlier answer to {question!r}")
    return found[-1]


async def test_the_same_question_is_answered_again_and_says_so(library: Pipeline, asker: Asker) -> None:
    first = await asked(asker, LEAVE)
    assert first.earlier is None and first.reuse and not first.notices
    again = await kept(asker, LEAVE, OTHER)
    assert again.earlier is not None and again.earlier.question == LEAVE and again.earlier.similarity == 1
    assert (again.text, again.citations, again.sources) == (first.text, first.citations, first.sources)
    assert again.notices[0].startswith("This is an earlier answer, to the same question, asked on 20")
    turn = await turn_of(TurnViews(library.es, library.settings), list(asker.answers)[-1])
    assert (turn.outcome, turn.earlier, turn.reuse) == (TurnOutcome.ANSWERED, again.earlier, "")


async def test_other_words_get_it_with_its_question(asker: Asker) -> None:
    await kept(asker, LEAVE)
    again = await kept(asker, "How can I carry over my unused leave?")
    assert again.earlier is not None and again.earlier.question == LEAVE and again.earlier.similarity < 1
    assert f"“{LEAVE}”" in again.notices[0]


@pytest.mark.parametrize("question", [
    "How do I carry leave over to March?", "How do I carry 5 days of unused leave over?",
    "How do Ann and I carry unused leave over?", "Can I carry unused leave over?"],
    ids=["date", "number", "name", "kind"])
async def test_a_question_of_one_s_own_is_never_kept(asker: Asker, question: str) -> None:
    assert (await asked(asker, question)).reuse == ""


async def test_other_access_or_filters_are_answered_anew(asker: Asker) -> None:
    await kept(asker, LEAVE)
    member = Person(subject="member", groups=["everyone", "board"])
    only = [Filter(field="document", op=FilterOp.ANY, values=["leave", "travel"])]
    spaces = {(await asked(asker, LEAVE)).reuse, (await asked(asker, LEAVE, member)).reuse,
              (await asked(asker, LEAVE, filters=only)).reuse}
    assert len(spaces) == 3


async def test_a_new_version_ends_it_and_so_does_a_new_document(library: Pipeline, asker: Asker) -> None:
    question = "Where are journeys booked?"
    assert "travel desk" in (await kept(asker, question)).text
    await put(library, "travel", "Trains are preferred to flights. Journeys are booked in the travel portal.")
    assert "travel portal" in (await asked(asker, question)).text
    await kept(asker, question)
    await put(library, "journeys", "Journeys are booked in the new app of the travel desk.")
    assert (await asked(asker, question)).earlier is None
    await library.gone("journeys", (await library.delete("journeys")).offset)


async def test_nobody_gets_what_they_may_no_longer_read(library: Pipeline, asker: Asker) -> None:
    question = "What opens the gate of the garage?"
    await kept(asker, question)
    await library.publish("parking", TEXTS["parking"], groups=["board"])
    await until(lambda: hidden(library, "parking"), "the view")
    ended = await asked(asker, question)
    assert ended.earlier is None and "parking" not in {s.document for s in ended.sources}
    await put(library, "parking", TEXTS["parking"])


async def hidden(library: Pipeline, document: str) -> bool:
    view = await library.views.get(WORKSPACE, document)
    return view is not None and view.groups == ["board"]


async def test_an_erased_turn_is_not_given_again(library: Pipeline, asker: Asker) -> None:
    question = "What opens the gate of the garage?"
    again = await kept(asker, question)
    assert again.earlier is not None
    turn = await turn_of(TurnViews(library.es, library.settings), again.earlier.turn)
    await library.producer.send(library.topic(topics.TURNS), f"{turn.conversation}/{turn.turn}", None,
                                partition_key=turn.conversation)

    async def forgotten() -> bool:
        ended = await asked(asker, question)
        return ended.earlier is None or ended.earlier.turn != turn.turn

    await until(forgotten, "the worker to forget it")


async def test_a_worker_that_starts_finds_what_the_log_holds(library: Pipeline, asker: Asker) -> None:
    question = "Where is the garage open?"
    await put(library, "garage", "The garage is open in the yard behind the kitchen.")
    first = (await kept(asker, question)).earlier
    before = held()
    await library.stop("streams.answers")
    library.start("streams.answers")

    async def filled() -> bool:
        return held() >= before

    # An old entry that had been thrown away may be back: it is checked when it is given.
    await until(filled, "the log to be read")
    again = (await asked(asker, question)).earlier
    assert first is not None and again is not None and again.turn == first.turn


def held() -> float:
    return REGISTRY.get_sample_value("weir_cache_entries", {"cache": "answers"}) or 0.0


async def test_a_question_asked_anew_is_searched_and_answered_again(asker: Asker) -> None:
    first = (await kept(asker, LEAVE)).earlier
    anew = await asked(asker, LEAVE, anew=True)
    assert anew.earlier is None and anew.reuse and {"keyword", "dense"} <= anew.timings.keys()
    assert first is not None and "cache" not in anew.timings
    before = len(asker.answers) - 1

    async def replaced() -> bool:
        again = (await asked(asker, LEAVE)).earlier
        # Or that of a question after it: one that comes before the new answer is kept may be answered anew as well.
        return again is not None and again.turn in list(asker.answers)[before:]

    await until(replaced, "the new answer to take the earlier one's place")


async def test_another_recipe_is_searched_and_answered_anew(asker: Asker) -> None:
    await kept(asker, LEAVE)
    plain, other = await asked(asker, LEAVE), await asked(asker, LEAVE, recipe={"dense_weight": 0.4})
    assert plain.earlier is not None and other.earlier is None
    assert "keyword" in other.timings and other.reuse


async def test_it_is_off_where_the_workspace_does_not_say_so(library: Pipeline, asker: Asker) -> None:
    await kept(asker, LEAVE)
    await allow(library, None)

    async def off() -> bool:
        return (await asked(asker, LEAVE)).reuse == "" and (await asked(asker, LEAVE)).earlier is None

    await until(off, "the worker to see it")
    await allow(library, Reuse(kinds=["how", "what", "where"], semantic=True, similarity=0.8))


async def test_a_search_is_used_again_until_its_workspace_changes(library: Pipeline, asker: Asker) -> None:
    async def search() -> Done:
        return await asked(asker, "the gate of the garage", search_only=True, limit=3)

    async def used_again() -> bool:
        found = await search()
        return "cache" in found.timings and "dense" not in found.timings

    await until(used_again, "a search to be used again")
    before = await search()
    sent = await library.publish("gates", "The gate of the garage is painted green.")
    await library.searchable("gates", sent.offset)
    after = await search()
    assert "gates" in {s.document for s in after.sources} - {s.document for s in before.sources}
    await until(used_again, "the search to be used again")
    await library.gone("gates", (await library.delete("gates")).offset)
    assert "gates" not in {s.document for s in (await search()).sources}


async def test_the_figures_come_onto_the_log(library: Pipeline, asker: Asker) -> None:
    await kept(asker, LEAVE)
    await put(library, "leave", TEXTS["leave"] + " The office keeps it.")
    await asked(asker, LEAVE)
    await library.stop("streams.answers")
    library.start("streams.answers")
    decoder = Decoder(library.settings, Blobs(library.settings))
    raws = await asyncio.to_thread(read_all, library.settings, library.topic(topics.CACHE_FIGURES))
    told = [record.event for raw in raws if (record := decoder.now(raw)) is not None]
    counts = [c for event in told if isinstance(event, CacheFigures) for c in event.caches]
    assert sum(c.lookups.get("exact", 0) for c in counts if c.cache == "answers") >= 1
    assert sum(c.lookups.get("hit", 0) for c in counts if c.cache == "retrieval") >= 1
    assert any(c.evictions.get("changed") for c in counts if c.cache == "answers")
