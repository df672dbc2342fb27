"""The access view follows the log, says when it does not, and comes back when it is lost; turns by person."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from confluent_kafka import Producer as PlainProducer
from elasticsearch import AsyncElasticsearch

from schemas import codec, keys, topics
from schemas.events import DocumentPublished, Person, Turn, TurnOutcome
from tests.kit.pipeline import PATIENCE, WORKSPACE, Pipeline, pipeline
from tests.kit.waiting import until
from weir.errors import Unavailable
from weir.kafka.config import producer_config, transactional_config
from weir.views.documents import DocumentView, DocumentViews, document_id, view_index
from weir.views.gets import Gets
from weir.views.turns import TurnViews

pytestmark = pytest.mark.services

LAG = 1.0


@pytest.fixture
async def only_views() -> AsyncIterator[Pipeline]:
    """The views alone: neither sink runs."""
    async with pipeline(views_lag=LAG, views_wait=LAG) as made:
        made.start("consumers.views")
        yield made


async def seen(made: Pipeline, document: str, version: int) -> DocumentView:
    """The view of a document once it has this version."""
    for _ in range(int(PATIENCE / 0.02)):
        try:
            view = (await made.views.check(WORKSPACE, [document])).get(document)
            if view is not None and view.version >= version:
                return view
        except Unavailable:
            pass
        await asyncio.sleep(0.02)
    raise AssertionError(f"{document} never came to version {version}")


async def test_access_and_deletion_follow_the_newest_event_while_the_sinks_stand_still(only_views: Pipeline) -> None:
    first = await only_views.publish("doc", "Text.", groups=["a"])
    assert (await seen(only_views, "doc", first.offset)).groups == ["a"]
    started = time.monotonic()
    second = await only_views.publish("doc", "Text.", groups=["b"], clearance=3)
    view = await seen(only_views, "doc", second.offset)
    took = time.monotonic() - started
    assert (view.groups, view.clearance, view.deleted) == (["b"], 3, False)
    assert took < LAG, f"the change took {took:.2f} s"
    third = await only_views.delete("doc")
    assert (await seen(only_views, "doc", third.offset)).deleted
    assert await only_views.views.check(WORKSPACE, ["doc", "never published"]) == {
        "doc": await seen(only_views, "doc", third.offset)}


async def test_a_view_that_is_behind_is_refused_and_then_answers_again(only_views: Pipeline) -> None:
    sent = await only_views.publish("doc", "Text.")
    await seen(only_views, "doc", sent.offset)
    await only_views.stop("consumers.views")
    changed = await only_views.publish("doc", "Text.", groups=["secret"])
    await asyncio.sleep(LAG)

    async def behind() -> bool:
        try:
            await only_views.views.check(WORKSPACE, ["doc"])
        except Unavailable as e:
            assert e.retry_after
            return True
        return False

    await until(behind, what="the refusal")
    assert await only_views.views.freshness() == 1
    only_views.start("consumers.views")
    assert (await seen(only_views, "doc", changed.offset)).groups == ["secret"]


async def test_idle_partitions_are_up_to_date_whatever_stands_at_their_end(only_views: Pipeline) -> None:
    sent = await only_views.publish("doc", "Text.")
    await seen(only_views, "doc", sent.offset)
    key = keys.document_key(WORKSPACE, "doc")
    topic = only_views.topic(topics.DOCUMENTS)

    # Bytes that nobody can read: a dead letter, and then nothing.
    plain = PlainProducer(producer_config(only_views.settings))
    plain.produce(topic, b"not a record", key.encode())
    assert await asyncio.to_thread(plain.flush, 10) == 0
    await only_views.dead_letters(1)
    # A publisher that uses transactions leaves a marker that no consumer ever sees.
    publisher = PlainProducer(transactional_config(only_views.settings, only_views.settings.prefix + "publisher"))
    event = DocumentPublished(workspace=WORKSPACE, document="doc", content=b"Text.", media_type="text/plain")
    await asyncio.to_thread(publisher.init_transactions, 20)
    publisher.begin_transaction()
    publisher.produce(topic, codec.encode(event), key.encode())
    await asyncio.to_thread(publisher.commit_transaction, 20)

    view = await seen(only_views, "doc", sent.offset + 2)
    assert view.version == sent.offset + 2
    # Whoever looks after this long knows every end there is.
    await asyncio.sleep(LAG + 2.0)

    async def fresh() -> bool:
        return await only_views.views.freshness() == 0

    await until(fresh, what="the view's progress")
    assert await only_views.views.check(WORKSPACE, ["doc"])


async def test_a_lost_view_is_never_taken_for_a_complete_one_and_fills_itself_again(only_views: Pipeline) -> None:
    sent = [await only_views.publish(f"d{n}", "Text.") for n in range(5)]
    for n, delivery in enumerate(sent):
        await seen(only_views, f"d{n}", delivery.offset)
    await only_views.es.indices.delete(index=f"{view_index(only_views.settings)}-1")
    names, missing = [f"d{n}" for n in range(5)], 0
    for _ in range(int(PATIENCE / 0.05)):
        try:
            found = await only_views.views.check(WORKSPACE, names)
            assert len(found) == 5, "an empty view answered as if it were complete"
            break
        except Unavailable:
            missing += 1
        await asyncio.sleep(0.05)
    assert missing and len(await only_views.views.check(WORKSPACE, names)) == 5


async def test_documents_are_listed_by_page_without_the_deleted(only_views: Pipeline) -> None:
    for n in range(5):
        last = await only_views.publish(f"d{n}", "Text.", groups=["a" if n % 2 else "b"])
    gone = await only_views.delete("d3")
    await seen(only_views, "d3", gone.offset)
    await seen(only_views, "d4", last.offset)
    await asyncio.sleep(1.5)  # a list is a search: at most a second behind
    first = await only_views.views.list(WORKSPACE, limit=3)
    rest = await only_views.views.list(WORKSPACE, limit=3, after=first.after)
    assert [d.document for d in first.documents + rest.documents] == ["d0", "d1", "d2", "d4"]
    assert rest.after is None
    mine = await only_views.views.list(WORKSPACE, access={"terms": {"groups": ["a"]}})
    assert [d.document for d in mine.documents] == ["d1"]


def turn(number: int, conversation: str, subject: str, follows: str | None = None) -> Turn:
    return Turn(turn=f"t{number}", conversation=conversation, workspace=WORKSPACE, question=f"Question {number}?",
                person=Person(subject=subject, groups=[]), outcome=TurnOutcome.ANSWERED, text="Yes.", sources=[],
                citations=[], asked_at=number, finished_at=number + 1, follows=follows)


async def test_turns_by_id_by_conversation_and_by_person(only_views: Pipeline) -> None:
    turns = [turn(1, "c1", "ann"), turn(2, "c2", "ann"), turn(3, "c1", "ann", follows="t1"), turn(4, "c3", "bob")]
    for t in turns:
        await only_views.producer.send(only_views.topic(topics.TURNS), keys.turn_key(t.conversation, t.turn), t,
                                       partition_key=t.conversation)
    views = TurnViews(only_views.es, only_views.settings)
    for t in turns:
        for _ in range(20):
            try:
                found = await views.wait(t.turn)
                break
            except Unavailable:
                await asyncio.sleep(0.5)
        assert found == t
    assert [t.turn for t in await views.history("t3")] == ["t1", "t3"]
    await asyncio.sleep(1.5)  # lists are searches: at most a second behind
    assert [(c.conversation, c.title, c.turns) for c in await views.conversations("ann")] == [
        ("c1", "Question 1?", 2), ("c2", "Question 2?", 1)]
    assert [t.turn for t in await views.conversation("c1", "ann")] == ["t1", "t3"]
    assert await views.conversation("c1", "bob") == []
    assert [c.conversation for c in await views.conversations("ann", before=3)] == ["c2", "c1"]


async def test_what_may_wait_goes_along_with_what_may_not_and_alone_when_nothing_comes(
        only_views: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, es = [], only_views.es
    mget = es.mget

    async def counted(**arguments: Any) -> Any:
        asked.append(len(arguments["docs"]))
        return await mget(**arguments)

    await only_views.publish("doc", "Text.")
    t = turn(7, "c7", "ann")
    await only_views.producer.send(only_views.topic(topics.TURNS), keys.turn_key(t.conversation, t.turn), t,
                                   partition_key=t.conversation)
    await seen(only_views, "doc", 0)
    assert await TurnViews(es, only_views.settings).wait(t.turn, PATIENCE) == t
    gets = Gets(es)
    turns = TurnViews(es, only_views.settings, gets)
    async with DocumentViews(es, only_views.settings, gets) as views:
        monkeypatch.setattr(es, "mget", counted)
        waiting = asyncio.create_task(turns.get(t.turn, patience=PATIENCE))
        other = asyncio.create_task(turns.get("never asked", patience=PATIENCE))
        gone = asyncio.create_task(turns.get("nobody waits", patience=PATIENCE))
        await asyncio.sleep(0.05)
        gone.cancel()
        assert asked == []
        assert "doc" in await views.check(WORKSPACE, ["doc"])
        assert (await waiting, await other) == (t, None)
        assert asked == [4], "the document, the progress of its partition, two turns: one request"
        began = time.monotonic()
        assert await turns.get(t.turn, patience=0.2) == t
        assert time.monotonic() - began >= 0.2
        assert asked == [4, 1]


async def test_one_that_is_cancelled_takes_nobody_with_it_and_one_index_that_is_lost_fails_alone(
        only_views: Pipeline) -> None:
    gets = Gets(only_views.es)
    await only_views.publish("doc", "Text.")
    view = await seen(only_views, "doc", 0)
    index, found = view_index(only_views.settings), document_id(WORKSPACE, "doc")
    rider = asyncio.create_task(gets.get(index, [found, "none"], patience=PATIENCE))
    lost = asyncio.create_task(gets.get("there-is-no-such-index", ["x"], patience=PATIENCE))
    await asyncio.sleep(0)
    driver = asyncio.create_task(gets.get(index, [found]))
    await asyncio.sleep(0)
    driver.cancel()
    hit, none = await rider
    assert (hit and hit["_source"]["document"], none) == (view.document, None)
    with pytest.raises(Unavailable, match="there-is-no-such-index cannot be read"):
        await lost
    assert await gets.get(index, []) == []


async def test_all_that_went_along_hear_that_nobody_answers() -> None:
    async with AsyncElasticsearch("http://127.0.0.1:9") as es:
        gets = Gets(es)
        rider = asyncio.create_task(gets.get("a", ["1"], patience=PATIENCE))
        await asyncio.sleep(0)
        for call in (gets.get("b", ["2"]), rider):
            with pytest.raises(Unavailable, match="does not answer while reading a, b"):
                await call
