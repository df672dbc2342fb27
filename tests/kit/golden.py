"""Golden questions, results and runs for tests, with only what a test says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.events import Evaluation, GoldenPassage, GoldenQuestion, QuestionResult, Source


def source(document: str, text: str = "", *, number: int = 1, passage: str | None = None) -> Source:
    return Source(number=number, chunk=f"c{number}", document=document, version=0, title="", heading_path=[], text=text,
                  section=0, start=0, end=len(text), score=0.0, passage=passage)


def ranked(*documents: str) -> list[Source]:
    return [source(d, number=n) for n, d in enumerate(documents, 1)]


def expects(document: str, text: str = "", **more: Any) -> GoldenPassage:
    return GoldenPassage(document=document, text=text, **more)


def question(name: str = "q", text: str = "Why?", **more: Any) -> GoldenQuestion:
    return GoldenQuestion(id=name, question=text, **more)


def result(name: str, figures: Mapping[str, float] | None = None, **more: Any) -> QuestionResult:
    return QuestionResult(**{
        "id": name, "question": f"{name}?", "kind": "", "groups": ["everyone"], "clearance": 0, "outcome": "answered",
        "figures": dict(figures or {}), **more})


def evaluation(questions: Sequence[QuestionResult], **more: Any) -> Evaluation:
    return Evaluation(**{
        "run": "r", "set": "sample", "set_version": 1, "set_change": "c", "workspace": "sample", "index": "main",
        "index_version": "v1", "live": True, "cut": "c800w", "embedding": "minilm-int8@1", "model": "extractive",
        "seed": 1, "started_at": 0, "ended_at": 1000, "by": "eve", "figures": [], "questions": list(questions), **more})
