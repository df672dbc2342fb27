"""Whether answers are grounded: `python -m bench.grounding --data DIR`.

Every collection is published into a workspace of its own, and questions go through the product as anybody's do. Three
figures: how often the gold answer is inside what is quoted (collections with an `answers.jsonl`), how many of its own
questions a collection's workspace refuses, and how many of the other collections' questions it refuses.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import Collection, People, collections, finish, passages_json, publish, sample, show, target
from cli.client import Client
from weir import settings as settings_module
from weir.errors import Overloaded, WeirError
from weir.settings import Settings

GOLD_LIMIT, FOREIGN_LIMIT, ANSWERABLE_LIMIT = 85.0, 95.0, 5.0
"""Percent."""


@dataclass(slots=True)
class Asked:
    """What came back for some questions, in percent."""

    refused: float
    gold: float | None = None
    sentences: float = 0.0
    """Quotes of an answer, on average."""


async def ask(client: Client, workspace: str, question: str, request: str) -> dict[str, Any]:
    """The `done` message of an answer.

    Raises:
        WeirError: the answer failed for another reason than too many questions.
    """
    while True:
        async for frame in client.ask({"request_id": request, "workspace": workspace, "question": question}):
            if frame["type"] == "done":
                return frame
            if frame["type"] == "error":
                if frame["code"] != Overloaded.code:
                    raise WeirError(f"{question!r} failed: {frame['message']}")
                request += "+"
                await asyncio.sleep(frame.get("retry_after") or 1.0)


def quoted(done: dict[str, Any]) -> str:
    """The stretches of an answer that are cited, joined."""
    return " ".join(done["text"][c["start"]:c["end"]] for c in done["citations"])


async def ask_all(people: People, workspace: str, questions: Sequence[tuple[str, str]], gold: dict[str, list[str]],
                  first: int) -> Asked:
    """Asks a workspace questions, two at a time."""
    refused, found, sentences = [], [], []
    places = asyncio.Semaphore(2)

    async def one(n: int, question: str, text: str) -> None:
        async with places:
            done = await ask(await people.client(first + n), workspace, text, f"{workspace}-{first}-{n}")
        refused.append(done["outcome"] == "not_in_sources")
        sentences.append(len(done["citations"]))
        if question in gold:
            said = quoted(done).lower()
            found.append(any(answer.lower() in said for answer in gold[question]))

    await asyncio.gather(*(one(n, question, text) for n, (question, text) in enumerate(questions)))
    return Asked(100 * float(np.mean(refused)), 100 * float(np.mean(found)) if found else None,
                 float(np.mean(sentences)))


def answers_of(folder: Path) -> dict[str, list[str]]:
    path = folder / "answers.jsonl"
    if not path.exists():
        return {}
    return {line["_id"]: line["answers"] for line in map(json.loads, path.read_text().splitlines()) if line}


async def run(settings: Settings, data: Path, limit: int) -> int:
    found = collections(data)
    rows: list[list[Any]] = []
    gold: list[float] = []
    own: list[float] = []
    foreign: list[float] = []
    async with People(settings) as people:
        operator = await people.operator()
        for collection in found:
            documents = {d: passages_json(p) for d, p in collection.documents.items()}
            await publish(settings, f"bench-{collection.name}", documents, operator)
        asked = 0
        for target_of in found:
            for asker in found:
                folder = data if (data / "corpus.jsonl").exists() else data / asker.name
                questions = sample(asker.questions, limit if asker is target_of else limit // 2)
                result = await ask_all(people, f"bench-{target_of.name}", questions,
                                       answers_of(folder) if asker is target_of else {}, asked)
                # The next questions are other people's: nobody may ask more than so many a minute.
                asked += -(-len(questions) // 40) * 40
                (own if asker is target_of else foreign).append(result.refused)
                gold += [result.gold] if result.gold is not None else []
                rows.append([_named(target_of, asker), len(questions), result.refused,
                             "" if result.gold is None else f"{result.gold:.1f}", f"{result.sentences:.2f}"])
    show("Grounding, percent", ["workspace <- questions of", "questions", "refused", "gold answer quoted", "quotes"],
         rows)
    targets = {"answerable_refused": target(float(np.mean(own)), ANSWERABLE_LIMIT, at_most=True)}
    if gold:
        targets["gold_in_quote"] = target(float(np.mean(gold)), GOLD_LIMIT, at_most=False)
    if foreign:
        targets["foreign_refused"] = target(float(np.mean(foreign)), FOREIGN_LIMIT, at_most=False)
    return finish(targets)


def _named(target_of: Collection, asker: Collection) -> str:
    return target_of.name if asker is target_of else f"{target_of.name} <- {asker.name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a collection in BEIR layout, or a folder of them")
    parser.add_argument("--limit", type=int, default=300, help="questions of its own that each collection is asked")
    arguments = parser.parse_args()
    try:
        sys.exit(asyncio.run(run(settings_module.load(), arguments.data, arguments.limit)))
    except WeirError as e:
        sys.exit(f"bench.grounding: {e.message}")


if __name__ == "__main__":
    main()
