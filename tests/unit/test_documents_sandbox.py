"""The sandbox: the same chunks as in process, and no document that takes the worker or its neighbours down."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import psutil
import pytest

from tests.kit.hostile import deep_html, hostile_files, pdf, slow_markdown, word
from weir.documents.cut import cut_document
from weir.documents.media_types import MediaType
from weir.documents.sandbox import IN_PROCESS_BYTES, Sandbox
from weir.documents.types import Cut, Limits
from weir.errors import BadDocument, Unavailable

CUT = Cut("test")
MARKDOWN = b"# Handbook\n\n" + b"## Leave\n\nThirty days of leave. Ask your team lead.\n\n" * 20
HUNGRY = b"<p>" + b"<b>x</b>" * 3_000_000  # 24 MB; its tree takes gigabytes


def children() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "weir.documents.child" in p.cmdline()]


async def refused(sandbox: Sandbox, content: bytes, media_type: str) -> BadDocument:
    with pytest.raises(BadDocument) as found:
        await sandbox.cut(content, media_type, document_id="d", cut=CUT)
    return found.value


@pytest.mark.parametrize(("content", "media_type"), [
    (MARKDOWN, MediaType.MARKDOWN),
    (pdf([[(20, "Head"), (12, "body " * 12)]]), MediaType.PDF),
    (word((1, "Terms"), "Notice."), MediaType.DOCX),
    (b"A long text. \xf0\x9f\x91\x8d\n" * (IN_PROCESS_BYTES // 10), MediaType.TEXT),
    (b'{"passages": [{"id": "a", "text": "short"}]}', MediaType.PASSAGES),
], ids=["markdown", "pdf", "docx", "long text", "passages"])
async def test_a_child_gives_the_same_chunks_as_this_process(content: bytes, media_type: str) -> None:
    async with Sandbox(processes=1) as sandbox:
        found = await sandbox.cut(content, media_type, document_id="https://x.example/docs/a", cut=CUT, file_name="f.x")
    assert found == cut_document(content, media_type, document_id="https://x.example/docs/a", cut=CUT, file_name="f.x")


async def test_every_hostile_file_is_refused_and_the_documents_behind_it_flow_on() -> None:
    async with Sandbox(processes=1) as sandbox:
        for name, (content, media_type, reason) in hostile_files().items():
            assert (await refused(sandbox, content, media_type)).reason == reason, name
            assert (await sandbox.cut(MARKDOWN, "text/markdown", document_id="d", cut=CUT)).title == "Handbook"


async def test_a_document_that_takes_too_long_is_refused_and_its_child_replaced() -> None:
    async with Sandbox(processes=1, limits=Limits(seconds=0.5)) as sandbox:
        await sandbox.cut(MARKDOWN, "text/markdown", document_id="d", cut=CUT)
        (before,) = children()
        begun = time.monotonic()
        error = await refused(sandbox, slow_markdown(), "text/markdown")
        assert error.reason == "hostile" and "0.5 seconds" in error.message
        assert time.monotonic() - begun < 3
        assert children() == [] and not before.is_running()
        assert (await sandbox.cut(MARKDOWN, "text/markdown", document_id="d", cut=CUT)).title == "Handbook"


async def test_a_document_that_takes_too_much_memory_is_refused() -> None:
    async with Sandbox(processes=1, limits=Limits(memory_bytes=400 * 2**20, seconds=30)) as sandbox:
        for _ in range(2):  # in a child of its own, then in one that has served before
            error = await refused(sandbox, HUNGRY, "text/html")
            assert error.reason == "hostile" and "memory" in error.message
            assert (await sandbox.cut(MARKDOWN, "text/markdown", document_id="d", cut=CUT)).title == "Handbook"


async def test_a_killed_child_costs_nothing_but_a_second_try() -> None:
    async with Sandbox(processes=1, limits=Limits(seconds=20)) as sandbox:
        await sandbox.cut(MARKDOWN, "text/markdown", document_id="d", cut=CUT)
        waiting = asyncio.ensure_future(sandbox.cut(slow_markdown(12_000), "text/markdown", document_id="d", cut=CUT))
        await asyncio.sleep(0.2)
        (child,) = children()
        os.kill(child.pid, signal.SIGKILL)
        assert len((await waiting).chunks) == 15
        assert child not in children()


async def test_a_document_that_kills_a_fresh_child_is_hostile() -> None:
    async with Sandbox(processes=1) as sandbox:
        waiting = asyncio.ensure_future(sandbox.cut(slow_markdown(), "text/markdown", document_id="d", cut=CUT))
        for _ in range(200):
            if running := [c for c in children() if c.cpu_times().user > 1]:
                os.kill(running[0].pid, signal.SIGSEGV)
                break
            await asyncio.sleep(0.05)
        with pytest.raises(BadDocument, match="broke its process") as found:
            await waiting
        assert found.value.reason == "hostile"


async def test_a_cancelled_document_frees_its_child() -> None:
    async with Sandbox(processes=1) as sandbox:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await sandbox.cut(slow_markdown(), "text/markdown", document_id="d", cut=CUT)
        assert children() == []
        assert (await sandbox.cut(MARKDOWN, "text/markdown", document_id="d", cut=CUT)).title == "Handbook"


async def test_documents_are_read_side_by_side_and_no_child_stays_behind() -> None:
    async with Sandbox(processes=2) as sandbox:
        results = await asyncio.gather(*(
            sandbox.cut(f"# T{n}\n\ntext".encode() if n % 5 else deep_html(), "text/markdown" if n % 5 else "text/html",
                        document_id=str(n), cut=CUT) for n in range(20)
        ), return_exceptions=True)
        assert len(children()) <= 2
    found = [r.reason if isinstance(r, BadDocument) else r.title for r in results]
    assert found == [f"T{n}" if n % 5 else "hostile" for n in range(20)]
    assert children() == []


async def test_a_child_that_cannot_start_is_not_the_documents_fault() -> None:
    async with Sandbox(processes=1, limits=Limits(memory_bytes=2**20)) as sandbox:
        with pytest.raises(Unavailable, match="memory limit"):
            await sandbox.cut(MARKDOWN, "text/markdown", document_id="d", cut=CUT)
    assert children() == []
