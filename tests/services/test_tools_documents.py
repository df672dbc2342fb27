"""The tools that read documents, on the real stores: what they find, and that nobody reads more than they may."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from consumers.tools.catalogue import Catalogue, built_in
from consumers.tools.library import Library, library
from consumers.tools.mcp_tools import McpServers
from consumers.tools.tool import Call, Tool, ToolFailed
from schemas import topics
from schemas.events import Person, Risk, Workspace
from tests.kit import engines
from tests.kit.pipeline import WORKSPACE, Pipeline, pipeline
from weir.agents.arguments import checked
from weir.clock import system_clock
from weir.settings import Settings

pytestmark = [pytest.mark.services, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]

SAMPLE = Path(__file__).resolve().parents[2] / "sample"
CONTRACTS = {"nordhavn": SAMPLE / "documents" / "contracts" / "nordhavn-connectivity.md",
             "thornlea": SAMPLE / "sources" / "thornlea-enclosures.md",
             "brackwater": SAMPLE / "sources" / "brackwater-transducers.md"}
ADA = Person(subject="ada", groups=["everyone"])
LEGAL = Person(subject="lea", groups=["everyone", "legal"], clearance=2)


class Stage:
    def __init__(self, pipe: Pipeline, documents: Library, tools: list[Tool]) -> None:
        self.pipe, self.documents, self.tools = pipe, documents, {tool.name: tool for tool in tools}

    async def run(self, name: str, person: Person = ADA, **given: Any) -> Any:
        tool = self.tools[name]
        values = checked(tool.schema_text, json.dumps(given))
        returned = await tool.run(Call("k", "t", WORKSPACE, person, values, 60.0))
        return json.loads(returned.content)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with pipeline() as pipe:
        pipe.start()
        for name, path in CONTRACTS.items():
            await pipe.publish(name, path.read_text(), media_type="text/markdown")
        last = await pipe.publish("secret", "# Merger\n\nThe merger price is 12 million pounds.", groups=["legal"],
                                  media_type="text/markdown", clearance=2)
        for name in CONTRACTS:
            await pipe.until(name, lambda s: s["searchable"])
        await pipe.searchable("secret", last.offset)
        await pipe.keyword_index.refresh()
        async with library(pipe.settings) as documents, built_in(
                pipe.settings, pipe.producer.blobs, system_clock) as tools:
            yield Stage(pipe, documents, tools)


async def test_passages_come_with_what_other_tools_take(stage: Stage) -> None:
    found = await stage.run("search_documents", query="notice period of the enclosures contract", limit=3)
    assert 1 <= len(found) <= 3
    assert found[0].keys() == {"document", "title", "section", "heading_path", "text", "score", "source",
                               "being_replaced"}
    read = await stage.run("read_section", document=found[0]["document"], section=found[0]["section"])
    assert found[0]["text"] in read["sections"][0]["text"] and len(read["sections"]) == 1
    (only,) = {p["document"] for p in await stage.run("search_documents", query="price", document="thornlea")}
    assert only == "thornlea"


async def test_a_document_is_read_whole(stage: Stage) -> None:
    read = await stage.run("read_section", document="nordhavn")
    assert read["others"] == [] and read["title"].startswith("Connectivity Services Agreement")
    text = "\n".join(section["text"] for section in read["sections"])
    assert "The term is 12 months." in text and "law of Norway" in text
    assert [s["section"] for s in read["sections"]] == sorted(s["section"] for s in read["sections"])
    with pytest.raises(ToolFailed, match="no section 99"):
        await stage.run("read_section", document="nordhavn", section=99)


async def test_documents_are_listed_by_name_or_by_what_they_are_about(stage: Stage) -> None:
    every = await stage.run("list_documents")
    assert [d["document"] for d in every] == ["brackwater", "nordhavn", "thornlea"]
    assert (await stage.run("list_documents", query="SIM cards and mobile data", limit=1))[0]["document"] == "nordhavn"


async def test_fields_are_found_word_for_word(stage: Stage) -> None:
    fields = ["price", "notice period", "term", "governing law", "payment", "parking spaces"]
    found = await stage.run("extract_fields", documents=list(CONTRACTS), fields=fields)
    assert [row["document"] for row in found["rows"]] == list(CONTRACTS)
    values = {row["document"]: {f: v and v["value"] for f, v in row["fields"].items()} for row in found["rows"]}
    assert values["thornlea"] | {"price": ""} == {
        "price": "", "notice period": "90 days", "term": "24 months", "governing law": "England and Wales",
        "payment": "30 days", "parking spaces": None}
    assert values["brackwater"]["notice period"] == "six months" and values["nordhavn"]["notice period"] == "30 days"
    assert values["nordhavn"]["governing law"] == "Norway" and values["nordhavn"]["payment"] == "14 days"
    assert "€1.90" in values["nordhavn"]["price"] and "£38.40" in values["thornlea"]["price"]
    for row in found["rows"]:
        for value in filter(None, row["fields"].values()):
            read = await stage.run("read_section", document=row["document"], section=value["section"])
            assert value["quote"] in read["sections"][0]["text"] and value["value"] in value["quote"]


async def test_nobody_gets_anything_of_what_they_may_not_read(stage: Stage) -> None:
    assert "secret" in {d["document"] for d in await stage.run("list_documents", LEGAL)}
    assert "12 million" in json.dumps(await stage.run("search_documents", LEGAL, query="merger price"))
    for tool, given in (("search_documents", {"query": "merger price"}), ("list_documents", {}),
                        ("list_documents", {"query": "merger price"}),
                        ("search_documents", {"query": "merger price", "document": "secret"})):
        said = json.dumps(await stage.run(tool, **given))
        assert "secret" not in said and "million" not in said
    denied, unknown = [], []
    for document, said in (("secret", denied), ("no-such", unknown)):
        for tool, given in (("read_section", {"document": document}),
                            ("extract_fields", {"documents": [document], "fields": ["price"]})):
            with pytest.raises(ToolFailed) as failed:
                await stage.run(tool, **given)
            said.append(failed.value.message.replace(document, "X"))
    assert denied == unknown, "one can tell that it exists"


async def test_what_was_deleted_a_moment_ago_is_not_shown(stage: Stage) -> None:
    made = await stage.pipe.publish("passing", "# Passing\n\nThe zebra costs 5 pounds.", media_type="text/markdown")
    await stage.pipe.searchable("passing", made.offset)
    await stage.pipe.keyword_index.refresh()
    assert "zebra" in json.dumps(await stage.run("search_documents", query="zebra"))
    await stage.pipe.delete("passing")
    assert "zebra" not in json.dumps(await stage.run("search_documents", query="zebra"))
    with pytest.raises(ToolFailed, match="no document 'passing'"):
        await stage.run("read_section", document="passing")


async def test_a_workspace_that_is_closed_to_somebody_is_closed_to_their_tasks(stage: Stage) -> None:
    topic = topics.WORKSPACES.named(stage.pipe.settings.prefix)
    await stage.pipe.producer.send(topic, "closed", Workspace(
        workspace="closed", readers=["board"], publishers=[], changed_at=1, changed_by="ada"))
    tool = stage.tools["list_documents"]
    for _ in range(200):
        try:
            await tool.run(Call("k", "t", "closed", ADA, {"limit": 5}, 60.0))
        except ToolFailed as e:
            assert "may not read in the workspace closed" in e.message
            return
    pytest.fail("it is open")


async def test_the_catalogue_is_published_and_follows_the_settings(stage: Stage) -> None:
    settings = stage.pipe.settings
    offered = await published(settings, stage, list(stage.tools.values()), "")
    assert {"search_documents", "read_section", "list_documents", "extract_fields", "make_table", "calculate",
            "send_email"} == {name for name, tool in offered.items() if tool.offered}
    assert offered["send_email"].risk is Risk.IRREVERSIBLE and json.loads(offered["calculate"].schema)["required"]
    offered = await published(settings, stage, list(stage.tools.values()), "calculate, make_table")
    assert {"calculate", "make_table"} == {name for name, tool in offered.items() if tool.offered}
    assert len(engines.events(settings, "tools")) == 12, "what has not changed was written again"


async def published(settings: Settings, stage: Stage, tools: list[Tool], wanted: str) -> dict[str, Any]:
    catalogue = Catalogue(Settings(**{**settings.model_dump(), "tools": wanted}), stage.pipe.producer,
                          McpServers(None, stage.pipe.producer.blobs))
    await catalogue.offer(tools)
    return {tool.name: tool for tool in engines.events(settings, "tools")}
