"""A small library of agreements with typed metadata, one of them for lawyers alone, for the tests of searching."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.kit.gateway import Gateway, gateway, gateway_settings
from tests.kit.pipeline import ANSWERING, INGEST, PATIENCE, WORKSPACE, Pipeline, pipeline
from tests.kit.waiting import until

ADMIN: dict[str, Any] = {"user": "adam", "groups": ("weir-admins",)}
LAWYER: dict[str, Any] = {"user": "lea", "groups": ("legal",)}
PUBLISHER: dict[str, Any] = {"user": "pat", "groups": ("publishers",)}
TEXT = ("# {0} agreement\n\n## Notice\n\nEither party may end the {0} agreement with {1} days' written notice.\n\n"
        "## Payment\n\nInvoices of {0} are paid within {2} days of their receipt.\n")
AGREEMENTS = {
    "thornlea": ("Thornlea", 90, 30, {"kind": "contract", "signed": "2026-05-02", "version": "2.10", "price": 41}),
    "brackwater": ("Brackwater", 60, 14, {"kind": "contract", "signed": "2024-02-01", "version": "2.9", "price": 17}),
    "marlow": ("Marlow", 45, 21, {"kind": "memo", "signed": "2026-06-01", "version": "3.0", "price": 900}),
}
HANDBOOK = "# Handbook\n\n## Leave\n\nEmployees have twenty-seven days of annual leave a year.\n"


def bodies() -> list[dict[str, Any]]:
    """What is published."""
    made: list[dict[str, Any]] = [{
        "document": name, "title": f"{title} agreement", "media_type": "text/markdown", "metadata": metadata,
        "content": TEXT.format(title, days, paid), "groups": ["legal"] if name == "marlow" else ["everyone"],
    } for name, (title, days, paid, metadata) in AGREEMENTS.items()]
    return [*made, {"document": "handbook", "title": "Handbook", "content": HANDBOOK, "media_type": "text/markdown",
                    "metadata": {"kind": "handbook"}}]


@asynccontextmanager
async def agreements(home: Path, **options: Any) -> AsyncIterator[tuple[Pipeline, Gateway]]:
    """All processes, a gateway at which Robin Reader can sign in, and the documents searchable."""
    (home / "people.json").write_text(json.dumps([{"user": "robin", "name": "Robin Reader", "groups": ["publishers"]}]))
    async with pipeline(**options) as weir:
        weir.start(*INGEST, *ANSWERING)
        async with gateway(gateway_settings(weir.settings, home)) as here:
            await here.call("PUT", f"/v1/workspaces/{WORKSPACE}", json={"title": "Agreements"}, **ADMIN)
            for body in bodies():
                status, reply = await here.call("POST", f"/v1/workspaces/{WORKSPACE}/documents", json=body, **PUBLISHER)
                assert status == 202, reply
                await weir.searchable(body["document"], reply["version"])

            async def answering() -> bool:
                asked = {"workspace": WORKSPACE, "question": "notice"}
                return (await here.call("POST", "/v1/search", json=asked, **PUBLISHER))[0] == 200

            # Behind the stores come the view of access and the worker that asks it.
            await until(answering, within=PATIENCE, what="the first answer")
            yield weir, here
