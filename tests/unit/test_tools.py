"""The tools that need no server, and what every tool has in common."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from consumers.tools import calls as running
from consumers.tools.artefacts import loaded
from consumers.tools.calculate import Calculate, calculate
from consumers.tools.calls import Calls, Ready
from consumers.tools.catalogue import changed, offer_of
from consumers.tools.effect_log import intent
from consumers.tools.hands import LEASE, Ended, Hands, Held, Late
from consumers.tools.mailboxes import Imap, Maildir, mailbox
from consumers.tools.make_table import MakeTable
from consumers.tools.query_database import QueryDatabase
from consumers.tools.send_email import SendEmail
from consumers.tools.tool import CONTENT_BYTES, Call, Returned, Tool, ToolFailed, arguments
from infra.local.mail import serve
from schemas import codec
from schemas.events import CallOutcome, DocumentDeleted, Person, Risk, ToolReturned
from tests.kit.tool_workers import Act, command, recorded
from weir.agents.arguments import checked
from weir.blobs import Blobs
from weir.clock import system_clock
from weir.errors import BadRequest, SettingsError, Unavailable
from weir.kafka.producer import Producer
from weir.settings import Port, Settings

ADA = Person(subject="ada", groups=["everyone"])


def call(tool: Tool, **given: Any) -> Call:
    """A call as the worker makes it, defaults filled in."""
    return Call("a" * 64, "t1", "w", ADA, checked(tool.schema_text, json.dumps(given)), 10.0)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(Settings(home=tmp_path))


# -- calculate ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("expression", "value"), [
    ("1 + 2 * 3", 7), ("(3 * 38.40 + 12) / 4", 31.8), ("7 // 2", 3), ("2 ** 10", 1024), ("round(2.567, 2)", 2.57),
    ("max(1, 2, 3) - min(4, 5)", -1), ("sqrt(16)", 4.0), ("2 > 1", True), ("0.1 + 0.2", 0.3),
    ("6400 * 1.90 * 12", 145920), ("round(5, -10**9)", 0)])
def test_it_calculates(expression: str, value: float) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize("expression", [
    "9**9**9", "9**999999", "'a'*9", "__import__('os').system('true')", "().__class__", "[1][0]",
    "[x for x in (1,)]", "f'{1:>999999999}'", "lambda: 1", "1/0", "(-8)**0.5", "1e308*10", "10**17*10**17", "abs('a')",
    "print(1)", "max(*(1,2))", "round(number=1)", "-" * 500 + "1", "1 if 1 else 2", "x", ""])
def test_it_calculates_nothing_else_and_takes_no_time_over_it(expression: str) -> None:
    began = time.monotonic()
    with pytest.raises(ToolFailed):
        calculate(expression)
    assert time.monotonic() - began < 1.0


# -- tables -------------------------------------------------------------------------------------------------------


async def test_a_table_is_markdown_and_a_csv_file(blobs: Blobs) -> None:
    tool = MakeTable(blobs)
    returned = await tool.run(call(tool, title="Three contracts", columns=["Field", "A|B"], rows=[
        ["price", 38.4], ["law", None], ["a\nb", "=1+1"], ["yes", True]]))
    assert returned.content.splitlines() == [
        "## Three contracts", "", "| Field | A\\|B |", "| --- | --- |", "| price | 38.4 |", "| law |  |",
        "| a b | =1+1 |", "| yes | yes |"]
    markdown, table = returned.artefacts
    assert [a.name for a in returned.artefacts] == ["three-contracts.md", "three-contracts.csv"]
    assert (await loaded(blobs, markdown.blob)).decode() == returned.content
    rows = list(csv.reader(io.StringIO((await loaded(blobs, table.blob)).decode("utf-8-sig"))))
    assert rows == [["Field", "A|B"], ["price", "38.4"], ["law", ""], ["a\nb", "'=1+1"], ["yes", "yes"]]


async def test_a_row_that_lacks_a_cell_is_refused(blobs: Blobs) -> None:
    tool = MakeTable(blobs)
    with pytest.raises(ToolFailed, match="row 2 has 1 cells and there are 2"):
        await tool.run(call(tool, title="t", columns=["a", "b"], rows=[[1, 2], [1]]))


async def test_what_records_were_too_large_to_carry_is_no_artefact(blobs: Blobs) -> None:
    document = await blobs.put(codec.encode(DocumentDeleted(workspace="w", document="secret", version=1)))
    for blob in (document, "0" * 64, "nonsense", "../../etc/passwd"):
        with pytest.raises(ToolFailed, match="artefact"):
            await loaded(blobs, blob)


# -- mail ---------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def post(tmp_path: Path, port_base: int = 19_800) -> AsyncIterator[Settings]:
    settings, stop = Settings(home=tmp_path, port_base=port_base), asyncio.Event()
    server = asyncio.create_task(serve(settings, stop))
    while not server.done():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", settings.port(Port.MAIL))
            writer.close()
            await writer.wait_closed()
            break
        except OSError:
            await asyncio.sleep(0.02)
    try:
        yield settings
    finally:
        stop.set()
        await server


async def test_a_mail_arrives_once_and_can_be_found_by_its_key(tmp_path: Path, blobs: Blobs) -> None:
    table = await blobs.put(b"a,b\r\n1,2\r\n")
    async with post(tmp_path) as settings:
        tool = SendEmail(settings, blobs, mailbox(settings), system_clock)
        assert tool.reconciles
        given = call(tool, to=["x@example.com"], subject="Grüße", body="Hello\n.\nrest", attachments=[f"{table}/t.csv"])
        assert await tool.reconcile(given) is None
        returned = await tool.run(given)
        assert await tool.reconcile(given) == returned
        assert json.loads(returned.content)["attachments"] == ["t.csv"]
        (file,) = (settings.maildir / "new").iterdir()
        assert await Maildir(settings.maildir).holds("<weir-b@localhost>") is False
        text = file.read_text()
        assert f"<weir-{'a' * 64}@localhost>" in text and "X-Weir-Task: t1" in text


@pytest.mark.parametrize("wrong", [
    {"to": ["x@example.com\r\nBcc: y@example.com"]}, {"to": ["no address"]}, {"to": []}, {"subject": "a\r\nBcc: b@c.d"},
    {"to": ["a@b.c, d@e.f"]}, {"attachments": ["../../secret"]}, {"attachments": [f"{'0' * 64}/../x"]},
    {"bcc": ["a@b.c"]}])
def test_a_mail_that_would_smuggle_something_in_is_refused(tmp_path: Path, blobs: Blobs, wrong: dict[str, Any]) -> None:
    tool = SendEmail(Settings(home=tmp_path), blobs, None, system_clock)
    with pytest.raises(BadRequest):
        call(tool, **{"to": ["x@example.com"], "subject": "s", "body": "b", **wrong})


async def test_no_mail_server_means_that_nothing_was_sent(tmp_path: Path, blobs: Blobs) -> None:
    settings = Settings(home=tmp_path, smtp="127.0.0.1:9", mailbox="")
    tool = SendEmail(settings, blobs, mailbox(settings), system_clock)
    assert not tool.reconciles
    with pytest.raises(ToolFailed) as failed:
        await tool.run(call(tool, to=["x@example.com"], subject="s", body="b"))
    assert failed.value.retriable


@pytest.mark.parametrize(("at", "error"), [
    ("RCPT", ToolFailed), ("DATA", ToolFailed), ("refuse", ToolFailed), ("silence", Unavailable)])
async def test_only_a_mail_server_that_breaks_off_in_the_mail_leaves_doubt(tmp_path: Path, blobs: Blobs, at: str,
                                                                          error: type[Exception]) -> None:
    ended = asyncio.Event()

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        while line := (await reader.readline()).upper():
            if line.startswith(at.encode()):
                writer.write(b"550 no\r\n")
            elif line.startswith(b"DATA"):
                writer.write(b"354 go on\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                if at == "silence":
                    break
                writer.write(b"554 spam\r\n")
            else:
                writer.write(b"250 ok\r\n")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(session, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        tool = SendEmail(Settings(home=tmp_path, smtp=f"127.0.0.1:{port}"), blobs, None, system_clock)
        with pytest.raises(error):
            await tool.run(call(tool, to=["x@example.com"], subject="s", body="b"))
        await ended.wait()


def test_a_mailbox_that_is_none_is_said_at_the_start(tmp_path: Path) -> None:
    for wrong in ("pop3://x", "imaps://host/Folder", "/var/mail"):
        with pytest.raises(SettingsError, match="WEIR_MAILBOX"):
            mailbox(Settings(home=tmp_path, mailbox=wrong))


async def test_an_imap_folder_is_searched_by_message_id() -> None:
    """Against a few lines that speak RFC 3501 as far as the search needs; no real IMAP server was at hand."""
    said: list[str] = []
    ended = asyncio.Event()

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK ready\r\n")
        while line := await reader.readline():
            tag, _, rest = line.decode().strip().partition(" ")
            said.append(rest)
            if rest == "CAPABILITY":
                writer.write(b"* CAPABILITY IMAP4rev1\r\n")
            elif rest.startswith("EXAMINE"):
                writer.write(b"* 3 EXISTS\r\n")
            elif rest.startswith("UID SEARCH"):
                writer.write(b"* SEARCH 7\r\n" if "<there@x>" in rest else b"* SEARCH\r\n")
            done = "NO wrong" if rest.startswith("LOGIN") and "secret" not in rest else "OK done"
            writer.write(f"{tag} {done}\r\n".encode())
            if rest == "LOGOUT":
                break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(session, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        box = Imap(f"imap://ada%40example.com@127.0.0.1:{port}/Sent%20mail", "secret")
        assert await box.holds("<there@x>") is True
        assert await box.holds("<elsewhere@x>") is False
        await ended.wait()
        assert 'LOGIN ada@example.com "secret"' in said and 'EXAMINE "Sent mail"' in said
        with pytest.raises(Unavailable):
            await Imap(f"imap://ada@127.0.0.1:{port}/Sent", "wrong").holds("<there@x>")


# -- database -----------------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> QueryDatabase:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table item (name text, price real, picture blob)")
        connection.executemany("insert into item values (?, ?, ?)", [(f"item {n}", n / 2, b"\0") for n in range(50)])
    connection.close()
    return QueryDatabase(Settings(home=tmp_path, database=f"sqlite:///{path}", database_rows=20, database_timeout=1.0))


async def test_a_query_returns_rows_up_to_the_limit(database: QueryDatabase) -> None:
    returned = await database.run(call(database, sql="select name, price, picture from item order by price", limit=2))
    assert json.loads(returned.content) == {"columns": ["name", "price", "picture"], "truncated": True,
                                            "rows": [["item 0", 0.0, "<1 bytes>"], ["item 1", 0.5, "<1 bytes>"]]}
    with pytest.raises(BadRequest):
        call(database, sql="select 1", limit=21)


@pytest.mark.parametrize("sql", [
    "insert into item values ('x', 1, null)", "delete from item", "update item set price = 0", "drop table item",
    "create table other (a)", "create temp table other (a)", "pragma query_only = off", "pragma journal_mode = delete",
    "attach database '/tmp/other.db' as other", "select 1; delete from item", "vacuum into '/tmp/copy.db'",
    "begin", "select load_extension('/tmp/x')", "with x as (select 1) delete from item", "analyze",
    "select writefile('/tmp/x', 'y')", "explain delete from item", "select randomblob(900000000)", ""])
async def test_nothing_can_be_written(database: QueryDatabase, tmp_path: Path, sql: str) -> None:
    before = (tmp_path / "shop.db").read_bytes()
    with pytest.raises((ToolFailed, BadRequest)):
        await database.run(call(database, sql=sql))
    assert (tmp_path / "shop.db").read_bytes() == before


async def test_a_query_that_never_ends_is_ended(database: QueryDatabase) -> None:
    began = time.monotonic()
    with pytest.raises(ToolFailed, match="longer than 1 s"):
        await database.run(call(database, sql="with recursive n(i) as (select 1 union all select i + 1 from n) "
                                              "select count(*) from n"))
    assert time.monotonic() - began < 5


def test_another_kind_of_database_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="WEIR_DATABASE"):
        QueryDatabase(Settings(home=tmp_path, database="mysql://host/name"))


# -- calls --------------------------------------------------------------------------------------------------------


class Long(Tool):
    name, description, schema = "long", "Says much.", arguments()

    async def run(self, call: Call) -> Returned:
        return Returned(json.dumps(["x" * 1000] * 200))


class Slow(Act):
    timeout = 0.05


async def done(tool: Tool, made: Any, blobs: Blobs, how: str = "write") -> ToolReturned:
    calls = Calls({tool.name: tool}, blobs, time.monotonic)
    ready = calls.check(made)
    assert isinstance(ready, Ready)
    return await (calls.read(ready) if how == "read" else calls.write(ready))


async def test_content_that_is_too_long_becomes_an_artefact(blobs: Blobs) -> None:
    tool = Long()
    outcome = await done(tool, command("t", "", tool, body="{}"), blobs, "read")
    assert outcome.outcome is CallOutcome.SUCCEEDED and len(outcome.content.encode()) <= CONTENT_BYTES
    assert "The rest is in the artefact long.json" in outcome.content
    (artefact,) = outcome.artefacts
    assert json.loads(await loaded(blobs, artefact.blob)) == ["x" * 1000] * 200


@pytest.mark.parametrize(("kind", "outcome", "retriable"), [
    ("plain", CallOutcome.UNKNOWN, False), ("deduplicates", CallOutcome.FAILED, True),
    ("reconciles", CallOutcome.SUCCEEDED, False)])
async def test_a_write_that_did_not_come_back_is_judged_by_what_can_be_found_out(
        blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, outcome: CallOutcome, retriable: bool,
        ) -> None:
    monkeypatch.setattr(running, "RECONCILE_AFTER", (0.0,))
    tool = Act(tmp_path / "recorder", kind)
    found = await done(tool, command("t", "x", tool, fails="broken"), blobs)
    assert (found.outcome, found.retriable) == (outcome, retriable)
    assert len(recorded(tmp_path / "recorder")) == 1


async def test_a_call_that_takes_too_long_is_given_up(blobs: Blobs, tmp_path: Path) -> None:
    tool = Slow(tmp_path / "recorder", "plain")
    found = await done(tool, command("t", "x", tool, seconds=5), blobs)
    assert found.outcome is CallOutcome.UNKNOWN and "longer than 0.05 s" in found.error
    calculator = Calculate()
    refused = await done(calculator, command("t", "", calculator, body='{"expression":"1/0"}'), blobs, "read")
    assert (refused.outcome, refused.retriable) == (CallOutcome.FAILED, False)


async def test_a_tool_that_nobody_offers_is_refused(blobs: Blobs, tmp_path: Path) -> None:
    refused = Calls({}, blobs, time.monotonic).check(command("t", "x", Act(tmp_path, "plain")))
    assert isinstance(refused, ToolReturned) and refused.outcome is CallOutcome.FAILED


# -- the catalogue ------------------------------------------------------------------------------------------------


def test_what_is_new_or_changed_is_published_and_what_is_gone_is_retired(blobs: Blobs, tmp_path: Path) -> None:
    act, table, calculator = (offer_of(t, 1) for t in (Act(tmp_path, "plain"), MakeTable(blobs), Calculate()))
    there = {"act": act, "table": table}
    assert changed(there, {"act": offer_of(Act(tmp_path, "plain"), 2), "table": table}, set(), 2) == {}
    assert changed(there, {"act": act, "calculate": calculator}, set(), 2).keys() == {"calculate", "table"}
    assert changed(there, {"act": act}, set(), 2)["table"].offered is False
    assert changed(there, {"act": act}, {"built-in"}, 2) == {}
    other = offer_of(Act(tmp_path, "reconciles"), 2)
    assert changed(there, {"act": other, "table": table}, set(), 2) == {"act": other}
    retired = changed(there, {"act": act}, set(), 2)
    assert changed({**there, **retired}, {"act": act, "table": table}, set(), 3).keys() == {"table"}


def test_only_what_cannot_be_undone_is_called_irreversible(tmp_path: Path, blobs: Blobs) -> None:
    assert SendEmail(Settings(home=tmp_path), blobs, None, system_clock).risk is Risk.IRREVERSIBLE
    assert {t.risk for t in (MakeTable(blobs), Calculate())} == {Risk.READ}


# -- hands --------------------------------------------------------------------------------------------------------


async def test_an_effect_that_was_held_up_is_not_begun_before_the_worker_has_shown_that_it_is_still_its(
        blobs: Blobs, tmp_path: Path) -> None:
    tool, now = Act(tmp_path / "recorder", "plain"), 100.0
    calls = Calls({tool.name: tool}, blobs, lambda: now)
    made = command("t", "x", tool)
    ready = calls.check(made)
    assert isinstance(ready, Ready)
    steps: SimpleQueue[Any] = SimpleQueue()
    async with Producer(Settings(home=tmp_path, kafka="127.0.0.1:9")) as producer:
        hands = Hands(calls, producer, steps, system_clock, lambda: now, lambda _: None, pytest.fail)
        held = Held(0, intent(made, "w", 1), ready)
        for ours, expected, done in ((now - LEASE - 0.1, Late, 0), (now - LEASE + 0.1, Ended, 1)):
            hands.begin(held, ours)
            assert held.work is not None
            await held.work
            assert isinstance(steps.get_nowait(), expected)
            assert len(recorded(tmp_path / "recorder")) == done
