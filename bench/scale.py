"""Whole retrieval at 20,000 passages, one and four at a time, and each process's memory: `python -m bench.scale`.

The passages (about 200 characters each) are made by a seeded generator whose words have Zipf frequencies; the first run
embeds them, which takes minutes, later runs find them in place.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import defaultdict

import numpy as np

from bench.common import Passage, People, at_a_time, console, finish, passages_json, percentile, publish, show, target
from infra.local.report import report
from weir import settings as settings_module
from weir.errors import WeirError
from weir.settings import Settings

PASSAGES, OF_DOCUMENT, CHARS = 20_000, 50, 200
WORDS, SEED = 30_000, 7
LIMIT_MS = 120.0
STAGES = ("embed", "keyword", "dense", "keyword_scores", "dense_scores", "fuse", "fetch", "retrieval")


def vocabulary(rng: np.random.Generator) -> list[str]:
    """Made-up words that can be spoken, the frequent ones short."""
    onset, nucleus = [*"bdfghklmnprstvz", "st", "tr", "pl", "gr"], [*"aeiou", "ai", "ou"]
    words: dict[str, None] = {}
    while len(words) < WORDS:
        syllables = 1 + min(3, int(rng.integers(0, 2) + len(words) ** 0.5 // 60))
        spoken = "".join(rng.choice(onset) + rng.choice(nucleus) for _ in range(syllables))
        words[spoken + str(rng.choice(onset))] = None
    return list(words)


def passages(count: int) -> tuple[dict[str, list[Passage]], list[str]]:
    """Documents of passages, and questions each made of words of one passage. The same for the same count."""
    rng = np.random.default_rng(SEED)
    words = np.array(vocabulary(rng))
    frequency = 1 / np.arange(1, len(words) + 1)
    frequency /= frequency.sum()
    documents: dict[str, list[Passage]] = defaultdict(list)
    for n in range(count):
        picked = list(rng.choice(words, CHARS // 4, p=frequency))
        text = ""
        while len(text) < CHARS and picked:
            text += (" " if text else "") + picked.pop()
        document = f"scale-{n // OF_DOCUMENT:04d}"
        documents[document].append(Passage(f"p{n}", document, n, "", text.capitalize() + "."))
    questions = []
    for n in rng.choice(count, 240, replace=False):
        of = documents[f"scale-{n // OF_DOCUMENT:04d}"][n % OF_DOCUMENT].text.rstrip(".").lower().split()
        asked = rng.choice(of, min(len(of), int(rng.integers(3, 9))), replace=False)
        questions.append(f"what is {' '.join(asked)}?")
    return dict(documents), questions


async def run(settings: Settings, count: int) -> int:
    documents, questions = passages(count)
    workspace = f"bench-scale-{count}"
    times: dict[int, dict[str, list[float]]] = {}
    async with People(settings) as people:
        took = await publish(settings, workspace, {d: passages_json(p) for d, p in documents.items()},
                             await people.operator())
        if took:
            console.print(f"{count:,} passages searchable after {took:.0f} s ({count / took:.0f} a second)")
        asked = iter(range(10**6))

        async def ask(question: str, into: dict[str, list[float]]) -> None:
            reply, millis = await people.search(next(asked), {"workspace": workspace, "question": question})
            if reply["notices"]:
                raise WeirError(f"the product answers, but says: {' '.join(reply['notices'])} See `weir status`.")
            for stage in STAGES:
                into[stage].append(reply["timings"].get(stage, 0.0))
            into["client"].append(millis)

        for width, part in ((1, questions[:40]), (1, questions[40:140]), (4, questions[140:])):  # the first 40 warm up
            into: dict[str, list[float]] = defaultdict(list)
            await at_a_time([lambda q=q, into=into: ask(q, into) for q in part], width)  # type: ignore[misc]  # bound by default
            times[width] = into
    for width, into in times.items():
        show(f"{'One' if width == 1 else 'Four'} at a time over {count:,} passages, ms; `client` has Kafka and HTTP "
             "in it", ["stage", "p50", "p95"],
             [[stage, percentile(of, 50), percentile(of, 95)] for stage, of in into.items()])
    status = await report(settings)
    show("Resident memory, MB", ["process", "memory"], [
        *([unit.name, unit.memory / 2**20] for unit in status.units),
        ["all", sum(unit.memory for unit in status.units) / 2**20]])
    return finish({"p95 of retrieval, one at a time, ms": target(
        percentile(times[1]["retrieval"], 95), LIMIT_MS, at_most=True)})


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.scale", description=__doc__)
    parser.add_argument("--passages", type=int, default=PASSAGES)
    arguments = parser.parse_args()
    try:
        sys.exit(asyncio.run(run(settings_module.load(), arguments.passages)))
    except WeirError as e:
        sys.exit(f"{e.code}: {e.message}")


if __name__ == "__main__":
    main()
