"""How well the product finds, over collections in BEIR layout: `python -m bench.retrieval --data DIR`.

Every collection is published as pre-cut documents through Kafka into a workspace of its own, and every question goes
through the product's own search. The same questions are ranked by the recipe in memory (bench/oracle.py), which is the
target, and by two baselines: cosines of the bare texts, and reciprocal rank fusion.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from bench.common import (
    Collection,
    People,
    collections,
    console,
    finish,
    passages_json,
    percentile,
    publish,
    sample,
    show,
    target,
)
from bench.oracle import Oracle
from weir import settings as settings_module
from weir.errors import WeirError
from weir.retrieval.embed import Embedder, model_revision
from weir.settings import Settings

METRICS = ("ndcg@10", "recall@20", "mrr", "pass@5", "pass@10", "pass@20", "p@3", "r@3")
MODEL = "minilm-int8"
PRODUCT, ORACLE = "weir", "recipe"
MEAN_LIMIT, EACH_LIMIT = -1.0, -2.0
"""Points that the product may lie below the recipe: in the mean over the collections, and in each."""

Scores = dict[str, float]


def scores(ranked: Sequence[str], relevant: set[str]) -> Scores:
    """Metrics of one question, 0 to 1. Pass@k is the share of its passages among the first k."""
    hits = [passage in relevant for passage in ranked[:100]]
    ideal = sum(1 / math.log2(i + 2) for i in range(min(10, len(relevant))))
    found = {k: sum(hits[:k]) / len(relevant) for k in (3, 5, 10, 20)}
    return {"ndcg@10": sum(hit / math.log2(i + 2) for i, hit in enumerate(hits[:10])) / ideal,
            "mrr": next((1 / (i + 1) for i, hit in enumerate(hits) if hit), 0.0), "recall@20": found[20],
            "pass@5": found[5], "pass@10": found[10], "pass@20": found[20], "p@3": sum(hits[:3]) / 3, "r@3": found[3]}


def mean(of: Sequence[Scores]) -> Scores:
    """In points, 0 to 100."""
    return {name: 100 * float(np.mean([s[name] for s in of])) for name in METRICS}


async def ask(collection: Collection, questions: Sequence[tuple[str, str]], workspace: str, people: People
              ) -> tuple[Scores, list[float], list[float]]:
    """Metrics of the product, milliseconds as the client saw them, milliseconds of retrieval."""
    found, seen, inside = [], [], []
    for n, (question, text) in enumerate(track(questions, f"{collection.name}: asking", console=None, transient=True,
                                               disable=not sys.stderr.isatty())):
        reply, millis = await people.search(n, {"workspace": workspace, "question": text, "limit": 100})
        if any(notice.startswith("Found by") for notice in reply["notices"]):
            raise WeirError(f"the product answers, but says: {' '.join(reply['notices'])} See `weir status`.")
        found.append(scores([source["passage"] for source in reply["sources"]], collection.relevant[question]))
        seen.append(millis)
        inside.append(reply["timings"]["retrieval"])
    return mean(found), seen, inside


async def in_memory(settings: Settings, collection: Collection, questions: Sequence[tuple[str, str]]
                    ) -> dict[str, Scores]:
    """Metrics of the recipe and the baselines."""
    revision = await model_revision(settings, MODEL)
    embedder = Embedder(settings, MODEL, revision, bulk=True)
    try:
        with console.status(f"{collection.name}: embedding again for the recipe in memory"):
            oracle = await Oracle.of(collection, embedder.embed)
            vectors = (await embedder.embed([text for _, text in questions])).astype(np.float64)
    finally:
        await embedder.close()
    found: dict[str, list[Scores]] = defaultdict(list)
    for (question, text), vector in zip(questions, vectors, strict=True):
        for way, ranked in oracle.ranked(text, vector).items():
            found[way].append(scores(ranked, collection.relevant[question]))
    return {way: mean(of) for way, of in found.items()}


async def run(settings: Settings, data: Path, limit: int, known: dict[str, dict[str, Scores]]) -> int:
    differences: dict[str, dict[str, float]] = {}
    latencies = []
    async with People(settings) as people:
        operator = await people.operator()
        for collection in collections(data):
            workspace = f"bench-{collection.name}"
            documents = {d: passages_json(passages) for d, passages in collection.documents.items()}
            took = await publish(settings, workspace, documents, operator)
            questions = sample(collection.questions, limit)
            product, seen, inside = await ask(collection, questions, workspace, people)
            begun = time.perf_counter()
            others = known[collection.name] if collection.name in known else await in_memory(
                settings, collection, questions)
            rows = {PRODUCT: product, **others}
            there = f"searchable after {took:.0f} s" if took else "was searchable already"
            show(f"{collection.name}: {len(collection.passages):,} passages in {len(documents):,} documents, "
                 f"{len(questions)} questions; {there}; compared in {time.perf_counter() - begun:.0f} s",
                 ["", *METRICS], [[way, *(of[name] for name in METRICS)] for way, of in rows.items()])
            differences[collection.name] = {
                name: product[name] - others[ORACLE][name] for name in ("ndcg@10", "recall@20")}
            latencies.append([collection.name, *(percentile(times, p) for times in (inside, seen) for p in (50, 95))])
    show("Latency in ms, one question at a time, 100 passages each", [
        "", "retrieval p50", "retrieval p95", "client p50", "client p95"], latencies)
    targets = {}
    for name in ("ndcg@10", "recall@20"):
        targets[f"{name} against the recipe, mean"] = target(
            float(np.mean([d[name] for d in differences.values()])), MEAN_LIMIT, at_most=False)
        for collection_name, d in differences.items():
            targets[f"{name} against the recipe, {collection_name}"] = target(d[name], EACH_LIMIT, at_most=False)
    return finish(targets)


def read_oracle(path: Path) -> dict[str, dict[str, Scores]]:
    """Figures by collection and way of ranking. Pass@k may be called recall@k there."""
    return {collection: {way: {name: of.get(name, of.get(name.replace("pass", "recall"), math.nan)) for name in METRICS}
                         for way, of in ways.items()} for collection, ways in json.loads(path.read_text()).items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.retrieval", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a collection in BEIR layout, or a folder of several")
    parser.add_argument("--limit", type=int, default=500, help="most questions of a collection")
    parser.add_argument("--oracle", type=Path, help="figures of the same questions as JSON, {collection: {way: "
                        "{metric: points}}} with a way called recipe, in place of the recipe in memory")
    arguments = parser.parse_args()
    known = read_oracle(arguments.oracle) if arguments.oracle else {}
    try:
        sys.exit(asyncio.run(run(settings_module.load(), arguments.data, arguments.limit, known)))
    except WeirError as e:
        sys.exit(f"{e.code}: {e.message}")


if __name__ == "__main__":
    main()
