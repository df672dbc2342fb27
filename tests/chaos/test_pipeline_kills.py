"""SIGKILL at every process of a document's way, again and again: every document is searchable, exactly once."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from schemas import keys
from tests.kit.pipeline import INGEST, WORKSPACE, Pipeline, pipeline
from weir.settings import environment
from weir.views.manifests import Manifests
from weir.views.status import keywords_store, vectors_store

pytestmark = [pytest.mark.chaos, pytest.mark.services, pytest.mark.timeout(900)]


DOCUMENTS = 100
SEED = 7


class Processes:
    """The five processes as real ones, each with its log in a file."""

    def __init__(self, made: Pipeline, logs: Path) -> None:
        self._env = environment(made.settings) | {"PYTHONPATH": str(Path.cwd())}
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        for name in INGEST:
            self.start(name)

    def start(self, name: str) -> None:
        with (self._logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen([sys.executable, "-W", "error", "-m", name], env=self._env,
                                                   stdout=log, stderr=log)

    def kill(self, name: str) -> None:
        process = self._running[name]
        assert process.poll() is None, f"{name} ended by itself: see its log in {self._logs}"
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def text(n: int, version: int) -> str:
    chosen = random.Random(n * 10 + version)
    paragraphs = 100 if n == 0 else 1 + n % 2
    return "\n\n".join(f"Paragraph {p} of document {n}, version {version}: "
                       + " ".join(chosen.choices(["heron", "otter", "valve", "river", "gauge"], k=60)) + "."
                       for p in range(paragraphs))


async def test_every_document_is_searchable_exactly_once_whoever_is_killed(tmp_path: Path) -> None:
    async with pipeline() as made:
        processes = Processes(made, tmp_path)
        try:
            monkey = asyncio.create_task(kill_around(processes))
            newest = {}
            for n in range(DOCUMENTS):
                for version in range(1 + n % 3):
                    newest[n] = await made.publish(f"d{n}", text(n, version))
                await asyncio.sleep(0.2)
            await monkey
            deadline = asyncio.get_running_loop().time() + 300
            left = set(range(DOCUMENTS))
            while left and asyncio.get_running_loop().time() < deadline:
                for n in sorted(left):
                    try:
                        status = await made.status(f"d{n}")
                    except Exception:
                        continue
                    if status["searchable"] and status["version"] == newest[n].offset:
                        left.discard(n)
                await asyncio.sleep(0.5)
            assert not left, f"not searchable: {sorted(left)}"
            await exactly_once(made, {f"d{n}": d.offset for n, d in newest.items()})
        finally:
            processes.stop()


async def kill_around(processes: Processes) -> None:
    """Each process twice, in a seeded order; what was killed starts again at once, as under a supervisor."""
    order = list(INGEST) * 2
    random.Random(SEED).shuffle(order)
    await asyncio.sleep(6)
    for name in order:
        processes.kill(name)
        processes.start(name)
        await asyncio.sleep(3.0)


async def exactly_once(made: Pipeline, versions: dict[str, int]) -> None:
    """What the stores hold is what the manifests say, nothing less and nothing more."""
    names = [(WORKSPACE, d) for d in versions]
    label = made.indexes.live().name
    for _ in range(100):  # the last clean-up may still be under way
        held = [await Manifests(made.es, made.settings, store).get(names)
                for store in (vectors_store(label), keywords_store(label))]
        if not any(m.stale or m.pending for manifests in held for m in manifests.values()):
            break
        await asyncio.sleep(0.2)
    vectors, keywords = held
    assert {d: (vectors[WORKSPACE, d].version, keywords[WORKSPACE, d].version) for d in versions} == {
        d: (v, v) for d, v in versions.items()}
    assert not any(m.stale or m.pending for manifests in held for m in manifests.values())

    expected = {keys.chunk_id(WORKSPACE, d, v, n) for d, v in versions.items()
                for n in range(keywords[WORKSPACE, d].count)}
    assert {chunk["id"] for chunk in await made.chunks()} == expected
    assert await made.rows() == sum(m.count for m in vectors.values())
    for document, version in versions.items():
        assert await made.row_ids(document) == sorted(
            keys.row_id(WORKSPACE, document, version, n) for n in range(vectors[WORKSPACE, document].count))
    assert await made.dead_letters(0) == []
