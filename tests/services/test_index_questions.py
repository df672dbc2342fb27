"""Questions while the index goes over and back: none fails, none meets vectors of another model, each turn says which
version it was answered from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise

import pytest

from schemas import topics
from schemas.events import Done, Outcome, Turn
from tests.kit.answers import Asker
from tests.kit.embedding_server import EmbeddingServer, embedding_server
from tests.kit.pipeline import ANSWERING, INGEST, Pipeline, pipeline
from tests.kit.versions import build, versions
from tests.kit.waiting import until
from weir.blobs import Blobs
from weir.index import changes
from weir.index.record import change
from weir.kafka.follow import read_all
from weir.kafka.records import Decoder

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]

QUESTIONS, IN_FLIGHT, CHANGES = 1000, 8, 20
TEXTS = {
    "pump": "The main pump moves ninety litres a second.",
    "leave": "Unused leave ends in March of the following year.",
    "invoice": "An invoice is paid within thirty days of its receipt.",
    "tide": "Spring tides raise the water in the harbour by four metres.",
}
ASKED = {"pump": "How many litres does the main pump move?", "leave": "When does unused leave end?",
         "invoice": "When is an invoice paid?", "tide": "How far do spring tides raise the water?"}


@pytest.fixture
async def server() -> AsyncIterator[EmbeddingServer]:
    async with embedding_server() as made:
        # As many dimensions as the other model has: vectors of the two could meet, and their cosines would be noise.
        made.dimension = 384
        yield made


async def library(made: Pipeline) -> None:
    sent = {name: await made.publish(name, text) for name, text in TEXTS.items()}
    for name, delivery in sent.items():
        await made.searchable(name, delivery.offset)


def cosines(done: Done) -> dict[str, float]:
    """Cosine of the question with each document's chunk."""
    ranking = json.loads(done.explain or "{}")["ranking"]
    return {c["document"]: c["chunk_cosine"] for c in ranking if c["document"]}


async def answered(asker: Asker, name: str) -> Done:
    answer = await asker.ask(ASKED[name], search_only=True, explain=True, limit=4)
    ended = (await asker.ended(answer)).terminal
    assert isinstance(ended, Done), ended
    return ended


async def test_a_thousand_questions_across_ten_cutovers_and_rollbacks(server: EmbeddingServer) -> None:
    # Each search is made, though the questions are few.
    async with (pipeline(embed_url=server.url, kept_searches=0) as made,
                Asker(made.settings, made.producer) as asker):
        made.start(*INGEST, *ANSWERING, "another streams.answers")
        await library(made)
        await build(made, "openai:tiny")
        operator = versions(made)

        # What a question and a text have in common under each model; a mix of the two would show.
        wanted = {"v1": {name: cosines(await answered(asker, name))[name] for name in ASKED}}
        await operator.cutover("v2")
        await until(lambda: _answers(asker, "v2"), "the cutover")
        wanted["v2"] = {name: cosines(await answered(asker, name))[name] for name in ASKED}
        await operator.rollback()
        assert all(abs(wanted["v1"][name] - wanted["v2"][name]) > 0.05 for name in ASKED)

        asked: list[tuple[str, Done]] = []
        names = list(ASKED)

        over = asyncio.Event()

        async def ask() -> None:
            while not over.is_set() or len(asked) < QUESTIONS:
                name = names[len(asked) % len(names)]
                asked.append((name, await answered(asker, name)))

        asking = [asyncio.create_task(ask()) for _ in range(IN_FLIGHT)]
        for n in range(CHANGES):
            # Each version gets its share, however fast the questions and however slow the changes are.
            enough = len(asked) + QUESTIONS // (CHANGES + 1)
            while len(asked) < enough:
                await asyncio.sleep(0.01)
                for task in asking:
                    assert not task.done() or task.exception() is None, task.exception()
            await (operator.cutover("v2") if n % 2 == 0 else operator.rollback())
        over.set()
        await asyncio.gather(*asking)

        for name, done in asked:
            assert done.outcome is Outcome.SEARCHED and done.notices == []
            assert cosines(done)[name] == pytest.approx(wanted[done.index_version][name], abs=2e-3), done.index_version
        used = [done.index_version for _, done in asked]
        assert sum(a != b for a, b in pairwise(used)) >= CHANGES
        assert min(used.count("v1"), used.count("v2")) > QUESTIONS // 4
        await _each_turn_names_its_version(made, asker)


async def _answers(asker: Asker, version: str) -> bool:
    """Whether every worker answers from it: one question for each partition."""
    ended = [(await asker.ended(await asker.ask(ASKED[name], search_only=True))).terminal for name in [*ASKED, *ASKED]]
    return all(isinstance(end, Done) and end.index_version == version for end in ended)


async def _each_turn_names_its_version(made: Pipeline, asker: Asker) -> None:
    ended = {a: answer.terminal for a, answer in asker.answers.items() if isinstance(answer.terminal, Done)}
    decoder = Decoder(made.settings, Blobs(made.settings))

    async def folded() -> dict[str, Turn]:
        raws = await asyncio.to_thread(read_all, made.settings, topics.TURNS.named(made.settings.prefix))
        return {turn.turn: turn for raw in raws if (turn := (await decoder.decode(raw)).event) is not None}

    async def all_there() -> bool:
        return (await folded()).keys() >= ended.keys()

    await until(all_there, "the turns")
    found = await folded()
    assert {a: found[a].index_version for a in ended} == {a: done.index_version for a, done in ended.items()}


async def test_a_question_in_flight_ends_on_the_version_that_it_began_with(server: EmbeddingServer) -> None:
    # Nothing is remembered: the question that is held back has to reach the model.
    async with (pipeline(embed_url=server.url, vector_cache_mb=0, kept_searches=0) as made,
                Asker(made.settings, made.producer) as asker):
        made.start(*INGEST, *ANSWERING, "another streams.answers")
        await library(made)
        await build(made, "openai:tiny")
        operator = versions(made)
        await operator.cutover("v2")
        await until(lambda: _answers(asker, "v2"), "the cutover")

        # The server holds the question's vector back until the index has gone back.
        server.hold = ASKED["pump"]
        answer = await asker.ask(ASKED["pump"], search_only=True, explain=True)
        await server.held.wait()
        await operator.rollback()
        await until(lambda: _live(made, "v1"), "the rollback")
        server.go_on.set()
        ended = (await asker.ended(answer)).terminal
        assert isinstance(ended, Done) and ended.index_version == "v2"
        server.hold = ""
        await until(lambda: _answers(asker, "v1"), "the rollback")


async def _live(made: Pipeline, version: str) -> bool:
    return made.indexes.live().name == version


async def test_a_record_that_mixes_two_versions_answers_nobody(server: EmbeddingServer) -> None:
    """Published past every check, as by another program."""
    async with pipeline(embed_url=server.url) as made, Asker(made.settings, made.producer) as asker:
        made.start(*INGEST, *ANSWERING, "another streams.answers")
        await library(made)
        v2 = await build(made, "openai:tiny")
        v1 = made.indexes.live()
        mixed = {
            "another model's collection": replace(v1, collection=v2.collection),
            "another model for the same collection": replace(
                v1, model=v2.model, revision=v2.revision, probe=v2.probe),
            "another revision": replace(v1, revision="0" * 16),
            "another dimension": replace(v1, dimension=96),
            "another cutting recipe": replace(v1, cut=changes.cut_with(400, True)),
        }
        # Nobody fills stores by such a record: only the questions are of interest.
        await made.stop("streams.documents", "streams.embeddings", "consumers.vectors", "consumers.keywords")
        for what, version in mixed.items():
            await change(made.settings, "main", lambda now, version=version: replace(  # type: ignore[misc]  # bound now
                now, versions=[version, v2]))
            await until(lambda: _refused(asker), what)
        await change(made.settings, "main", lambda now: replace(now, versions=[v1, v2]))
        await until(lambda: _answers(asker, "v1"), "the right record")


async def _refused(asker: Asker) -> bool:
    """Whether every worker refuses, and none answers with less."""
    ended = []
    for _ in range(8):
        answer = await asker.ask(ASKED["pump"], search_only=True)
        ended.append((await asker.ended(answer)).terminal)
    for end in ended:
        assert not (isinstance(end, Done) and end.notices), f"a worse answer: {end.notices}"
    return all(getattr(end, "code", "") in ("mismatch", "wrong_revision") for end in ended)
