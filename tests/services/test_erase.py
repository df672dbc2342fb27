"""What is erased is gone: from answers and stores at once, and from the files of a real broker by its date."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from cli.rebuild import rebuild_view
from schemas import topics
from schemas.events import DocumentPublished, Done, Feedback, Outcome
from tests.kit.answers import Asker, turn_of
from tests.kit.eraser import STEPS, eraser
from tests.kit.pipeline import ANSWERING, INGEST, WORKSPACE, Pipeline, pipeline
from weir.blobs import Blobs
from weir.clock import system_clock
from weir.erasing import ERASED, PASSAGE_ERASED, broker
from weir.erasing.receipt import Receipt
from weir.erasing.segments import Sealed, log_folder, partition_folders, read_segments
from weir.erasing.target import Target
from weir.erasing.verify import Proof, Standing, Verifier
from weir.errors import NotFound
from weir.kafka.admin import ensure_topics
from weir.kafka.config import client_config
from weir.kafka.dead_letters import letters, replay
from weir.kafka.records import Raw
from weir.settings import environment
from weir.views.turns import TurnViews

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
SECRET = "The Nightjar clause lets Quillmere leave the Brackwater agreement after eleven days without giving a reason."
OTHER = "Either party may end the Thornlea agreement with ninety days' written notice."
NAME = f"{WORKSPACE}/nightjar.md"
QUESTION = "After how many days may Quillmere leave the Brackwater agreement?"


def lengthy(text: str) -> str:
    """A document of which a version does not fit into a record of these tests."""
    annexes = (f"Nightjar annex {n} speaks of matter {n * 7919}." for n in range(400))
    return "\n\n".join(["# Nightjar", text, *annexes])


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[Pipeline]:
    async with pipeline(blobs=str(tmp_path / "blobs"), max_record_bytes=8192) as made:
        made.start(*INGEST, *ANSWERING, "streams.watchdog")
        yield made
        await made.stop()


async def filled(made: Pipeline) -> tuple[str, str]:
    """Publishes, asks, and makes a dead letter; the turns that show the secret and the other document."""
    other = await made.publish("thornlea.md", f"# Thornlea\n\n{OTHER}", media_type="text/markdown", groups=["everyone"])
    await made.publish("nightjar.md", lengthy(SECRET), media_type="text/markdown", groups=["everyone"])
    broken = await made.publish("nightjar.md", SECRET * 3, media_type="application/pdf", groups=["everyone"])
    await made.until("nightjar.md", lambda s: s["version"] == broken.offset and s["failed"])
    last = await made.publish("nightjar.md", f"# Nightjar\n\n{SECRET}", media_type="text/markdown", groups=["everyone"])
    await made.searchable("thornlea.md", other.offset)
    await made.searchable("nightjar.md", last.offset)
    async with Asker(made.settings, made.producer) as asker:
        asked = await asker.ask(QUESTION), await asker.ask("How many days of notice end the Thornlea agreement?")
        for answer in asked:
            ended = await asker.ended(answer)
            assert isinstance(ended.terminal, Done) and ended.terminal.outcome is Outcome.ANSWERED
    views = TurnViews(made.es, made.settings)
    assert SECRET in (await turn_of(views, asked[0])).text
    await turn_of(views, asked[1])
    return asked


def files(made: Pipeline, words: str) -> list[str]:
    """The files of the log and the blobs in which some words stand, as one finds them without knowing the format."""
    found = [str(path.name) for path in Path(made.settings.blobs_url).rglob("*")
             if path.is_file() and words.encode() in path.read_bytes()]
    folder = log_folder(made.settings)
    for path in folder.glob(f"{made.settings.prefix}*/*.log*") if folder else ():
        try:
            if words.encode() in path.read_bytes():
                found.append(f"{path.parent.name}/{path.name}")
        except FileNotFoundError:
            continue
    return found


def hurry(made: Pipeline) -> None:
    """Lets the broker do within seconds what it would do within its dates. Topics that only age are compacted as well:
    the cleaner looks every few seconds at such ones, the retention of others every five minutes."""
    changes = []
    for name, topic in broker.topics_there(made.settings).items():
        if topic is topics.AUDIT:
            continue  # the receipts
        quick = {"max.compaction.lag.ms": "1000", "min.cleanable.dirty.ratio": "0.0", "file.delete.delay.ms": "100"}
        if not topic.compacted:
            quick |= {"cleanup.policy": "compact,delete", "retention.ms": "1000", "segment.ms": "1000"}
        changes.append(ConfigResource(ResourceType.TOPIC, name, incremental_configs=[
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in quick.items()]))
    admin = AdminClient(client_config(made.settings))
    for future in admin.incremental_alter_configs(changes).values():
        future.result(10)


async def proof(made: Pipeline, receipt: Receipt, later: int = 0) -> Proof:
    return await Verifier(made.settings, made.es, made.milvus, made.indexes, Blobs(made.settings),
                          system_clock() + later).verify(receipt)


async def forgotten(made: Pipeline, receipt: Receipt, within: float = 120.0) -> Proof:
    """The proof once nothing is left."""
    end = time.monotonic() + within
    while not (found := await proof(made, receipt)).forgotten:
        assert time.monotonic() < end, [t for t in found.topics if t.standing is not Standing.FORGOTTEN]
        await asyncio.sleep(1.0)
    return found


def standing(found: Proof, made: Pipeline) -> dict[str, Standing]:
    return {t.name.removeprefix(made.settings.prefix): t.standing for t in found.topics}


async def test_a_document_is_gone_from_every_store_and_then_from_the_files(library: Pipeline) -> None:
    shown, untouched = await filled(library)
    assert files(library, SECRET)
    async with eraser(library.settings) as made:
        receipt = await made.erase(Target("document", NAME), "operator")
    assert receipt.pending == [] and receipt.turns == 2 and receipt.blobs and receipt.letters == 1
    assert SECRET not in json.dumps(receipt.to_json())

    # At once: what people and programs can reach.
    views = TurnViews(library.es, library.settings)
    turn, other = await views.get(shown), await views.get(untouched)
    assert turn is not None and other is not None
    assert (turn.text, turn.citations, turn.notices) == ("", [], [ERASED])
    assert not any(s.text for s in turn.sources if s.document == "nightjar.md")
    assert OTHER in other.text and other.citations and other.notices[-1:] == [PASSAGE_ERASED]
    assert not any(s.text for s in other.sources if s.document == "nightjar.md")
    assert await library.chunks("nightjar.md") == [] and await library.rows("nightjar.md") == 0
    assert await letters(library.settings) == []
    assert not [name for name in files(library, SECRET) if "/" not in name], "a blob is left"

    # Not yet: the log's files, and nothing claims otherwise.
    early = await proof(library, receipt)
    assert not early.forgotten and not early.broken
    assert standing(early, library)["documents"] in (Standing.WAITING, Standing.FORGOTTEN)  # the cleaner may be quick
    waiting = {t.name.removeprefix(library.settings.prefix) for t in early.topics if t.records}
    assert {"answers", "dead-letters"} <= waiting
    assert all(t.gone_by is not None and t.gone_by > receipt.finished_at for t in receipt.topics if t.records)
    assert (await proof(library, receipt, later=500 * 24 * 3600 * 1000)).broken, "a date that passes must be told"

    # A replay of the dead letter and a rebuilt view bring nothing back.
    [letter] = await letters(library.settings, settled=True)
    await replay(library.producer, letter)
    await rebuild_view(library.settings, "turns", lambda _: None, system_clock)
    again = await views.get(shown)
    assert again is not None and again.text == ""
    assert await library.chunks("nightjar.md") == []

    # By the date: the files.
    hurry(library)
    found = await forgotten(library, receipt)
    assert {t.read for t in found.topics} == {"segments" if log_folder(library.settings) else "consumed"}
    assert files(library, SECRET) == []
    assert files(library, OTHER), "other documents must stay"

    # A copy in another document is that document's; what a stray process writes again is told.
    copy = DocumentPublished(workspace="other", document="copy", content=SECRET.encode(), media_type="text/plain")
    await library.producer.send(library.topic(topics.DOCUMENTS), "other/copy", copy)
    assert (await proof(library, receipt)).forgotten
    await library.producer.send(library.topic(topics.FEEDBACK), "somebody", Feedback(
        subject="somebody", turn=shown, good=False, comment=f"It said: {SECRET}", at=system_clock()))
    found = await proof(library, receipt)
    assert found.broken and standing(found, library)["feedback"] is Standing.BACK


async def test_an_eraser_that_is_killed_at_any_step_is_finished_by_the_next(library: Pipeline) -> None:
    shown, _ = await filled(library)
    for step in STEPS:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.kit.eraser", NAME, step, cwd=ROOT, env=environment(library.settings),
            stderr=subprocess.PIPE)
        _, told = await child.communicate()
        assert child.returncode == -9, f"{step}: {told.decode()[-2000:]}"
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", "erase", "--document", NAME, "--yes", "--json", cwd=ROOT,
        env=environment(library.settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, told = await done.communicate()
    assert done.returncode == 0, told.decode()
    receipt = Receipt.from_json(json.loads(out))
    turn = await TurnViews(library.es, library.settings).get(shown)
    assert turn is not None and turn.text == ""
    configs = broker.configs(library.settings, [library.topic(topics.DOCUMENTS)])
    assert configs[library.topic(topics.DOCUMENTS)]["segment.ms"] == topics.DOCUMENTS.config["segment.ms"]
    hurry(library)
    await forgotten(library, receipt)
    assert files(library, SECRET) == []
    looked = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", "erase", "verify", receipt.receipt, cwd=ROOT,
        env=environment(library.settings) | {"COLUMNS": "200"}, stdout=subprocess.PIPE)
    out, _ = await looked.communicate()
    assert looked.returncode == 0 and b"It is forgotten" in out

    # What a restored backup brings back is told; what is published anew under the same name is another document.
    blob = await Blobs(library.settings).put(SECRET.encode())
    assert (await proof(library, receipt)).blobs == [blob]
    await Blobs(library.settings).delete([blob])
    sent = await library.publish("nightjar.md", "# Nightjar\n\nAnother text altogether.", media_type="text/markdown")
    await library.searchable("nightjar.md", sent.offset)
    found = await proof(library, receipt)
    assert found.published_again and found.forgotten


async def test_what_nobody_published_cannot_be_erased(library: Pipeline) -> None:
    async with eraser(library.settings) as made:
        with pytest.raises(NotFound, match="knows no document"):
            await made.erase(Target("document", f"{WORKSPACE}/never.md"), "operator")


async def test_raw_segments_are_read_as_the_broker_wrote_them(tmp_path: Path) -> None:
    async with pipeline(blobs=str(tmp_path / "blobs")) as made:
        await ensure_topics(made.settings)
        sent = [await made.publish(f"d{n}", f"text {n}") for n in range(20)]
        await made.delete("d3")
        folder = log_folder(made.settings)
        name = made.topic(topics.DOCUMENTS)
        consumed = sorted(_fields(raw) for raw in broker.read(made.settings, name))
        assert len(consumed) == len(sent) + 1
        if folder is not None:
            assert sorted(_raw(partition_folders(folder, name), name)) == consumed


def _raw(folders: dict[int, list[Path]], name: str) -> Iterable[tuple[Any, ...]]:
    for partition, paths in folders.items():
        for path in paths:
            for raw in read_segments(path, name, partition):
                assert not isinstance(raw, Sealed)
                yield _fields(raw)


def _fields(raw: Raw) -> tuple[Any, ...]:
    return raw.partition, raw.offset, raw.key, raw.value, raw.timestamp, raw.headers
