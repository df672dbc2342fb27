"""A person's turns and tasks are gone for everybody, and no view that is made anew brings them back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cli.rebuild import rebuild_view
from schemas import keys, topics
from schemas.events import Artefact, CallTool, Earlier, Feedback, Person, Turn, TurnOutcome, Usage
from tests.kit.eraser import eraser
from tests.kit.hands import answer, call, calls
from tests.kit.tasks import APPROVERS, Office, office
from weir.blobs import BlobErased, Blobs
from weir.clock import system_clock
from weir.erasing.erase import without_question
from weir.erasing.target import Target
from weir.erasing.verify import Standing, Verifier
from weir.index.indexes import Indexes
from weir.kafka.follow import read_all
from weir.kafka.records import Decoder
from weir.stores import elasticsearch, milvus
from weir.views.erased import SOMEBODY
from weir.views.tasks import TaskViews
from weir.views.turns import TurnViews
from weir.views.usage import UsageViews

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

PLAN = [calls(call("make_table")), calls(call("send_email", to=["purchasing@quillmere.example"])), answer()]


@pytest.fixture
async def weir(tmp_path: Path) -> AsyncIterator[Office]:
    async with office(tmp_path) as made:
        yield made


async def asked(weir: Office, person: str, number: int, **more: Any) -> Turn:
    now = system_clock()
    turn = Turn(turn=f"{person}-{number}", conversation=f"talk-of-{person}", workspace="library",
                person=Person(subject=person, groups=[]), question=f"Question {number} of {person}?", text="An answer.",
                outcome=TurnOutcome.ANSWERED, sources=[], citations=[], asked_at=now, finished_at=now,
                **more)
    key = keys.turn_key(turn.conversation, turn.turn)
    await weir.producer.send(topics.TURNS.named(weir.settings.prefix), key, turn, partition_key=turn.conversation)
    return turn


async def finished(weir: Office, person: str) -> str:
    task = await weir.begin(PLAN, user=person)
    await weir.verdict(await weir.proposal(task))
    await weir.standing(task, "succeeded", person)
    return task


def tables(weir: Office, shared: str, own: str) -> None:
    """Each table that tasks make is a file that all make, and one that is the first task's alone."""
    before, own_left = weir.hands.run, [own]

    def run(body: CallTool) -> dict[str, Any]:
        blobs = [shared, *([own_left.pop()] if own_left else [])]
        files = [Artefact(name=f"{n}.csv", media_type="text/csv", blob=blob, size=4) for n, blob in enumerate(blobs)]
        return before(body) | ({"artefacts": files} if body.tool == "make_table" else {})
    weir.hands.run = run


async def counted(weir: Office) -> dict[str, int]:
    """What each person's tasks have cost, in millionths: a task that waits has written all that it cost."""
    raws = await asyncio.to_thread(read_all, weir.settings, topics.USAGE.named(weir.settings.prefix))
    decoder, found = Decoder(weir.settings, Blobs(weir.settings)), Counter[str]()
    for raw in raws:
        if isinstance(event := (await decoder.decode(raw)).event, Usage):
            found[event.subject] += round(event.cost * 1e6)
    return dict(found)


async def test_a_person_is_gone_and_others_are_not(weir: Office) -> None:
    blobs = Blobs(weir.settings)
    shared, own = await blobs.put(b"a;b\n"), await blobs.put(b"c;d\n")
    tables(weir, shared, own)
    hers, his = await finished(weir, "ann"), await finished(weir, "bob")
    waiting = await weir.begin(PLAN, user="ann")
    proposal = await weir.proposal(waiting)
    turn, other = await asked(weir, "ann", 1), await asked(weir, "bob", 1)
    repeated = await asked(weir, "bob", 2, notices=[f"An earlier answer, to “{turn.question}”."], earlier=Earlier(
        turn=turn.turn, question=turn.question, asked_at=turn.asked_at, similarity=0.95))
    await weir.producer.send(topics.FEEDBACK.named(weir.settings.prefix), "ann", Feedback(
        subject="ann", turn=turn.turn, good=True, comment="Thanks, Ann.", at=system_clock()))
    es = elasticsearch(weir.settings)
    turns, tasks, usage = TurnViews(es, weir.settings), TaskViews(es, weir.settings), UsageViews(es, weir.settings)
    assert await turns.wait(turn.turn, 30) and await turns.wait(other.turn, 30) and await turns.wait(repeated.turn, 30)
    on_the_log = await counted(weir)
    before = await weir.until(lambda: usage.totals("subject"),
                              lambda t: {u["subject"]: u["micros"] for u in t} == on_the_log)

    async with eraser(weir.settings) as made:
        receipt = await made.erase(Target("person", "ann"), "operator")
    assert receipt.pending == [] and receipt.turns == 2 and set(receipt.tasks) == {hers, waiting}
    assert receipt.blobs == [own]
    with pytest.raises(BlobErased):
        await blobs.get(own)
    assert await blobs.get(shared) == b"a;b\n"

    async def nothing_is_left() -> None:
        for task in (hers, waiting):
            assert await tasks.get(task) is None and await tasks.events(task) == []
            assert (await weir.call("GET", f"/v1/tasks/{task}", "ann"))[0] == 404
        assert (await weir.call("GET", f"/v1/approvals/{proposal['approval']}", "pia", APPROVERS))[0] == 404
        assert await turns.get(turn.turn) is None and await turns.conversations("ann") == []
        totals = {u["subject"]: u["micros"] for u in await usage.totals("subject")}
        assert totals == {SOMEBODY if u["subject"] == "ann" else u["subject"]: u["micros"] for u in before}
        assert await tasks.get(his) is not None and await tasks.events(his)
        assert (await turns.get(other.turn)) == other
        assert (await turns.get(repeated.turn)) == without_question(repeated)

    await nothing_is_left()
    await asyncio.gather(*(rebuild_view(weir.settings, view, lambda _: None, system_clock)
                           for view in ("task-events", "turns")))
    await nothing_is_left()

    # She may come back; what she asks then is hers, and not what was erased.
    again = await asked(weir, "ann", 2)
    assert await turns.wait(again.turn, 30) == again
    indexes, client = Indexes(weir.settings), milvus(weir.settings)
    await indexes.start()
    try:
        proof = await Verifier(weir.settings, es, client, indexes, blobs, system_clock()).verify(receipt)
    finally:
        await indexes.close()
        await client.close()
        await es.close()
    assert not proof.broken and not proof.forgotten
    standings = {t.name.removeprefix(weir.settings.prefix): t.standing for t in proof.topics}
    # The cleaner may have come already.
    assert standings["turns"] in (Standing.WAITING, Standing.FORGOTTEN) and standings["feedback"] is Standing.WAITING
    assert standings["documents"] is Standing.FORGOTTEN
