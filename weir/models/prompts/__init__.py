"""Prompts as versioned files. A changed prompt is a new file, since a turn names the one it was made with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from weir.models.protocol import Asked, Exchange

ANSWER, QUESTION = "answer-1", "question-1"


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    """`user` or `assistant`."""
    content: str


@cache
def system_prompt(name: str) -> str:
    """The text of a prompt by its name and version."""
    return (files(__name__) / f"{name}.md").read_text("utf-8").strip()


def messages(asked: Asked) -> list[Message]:
    """What was said before, then the sources with their numbers and the question."""
    told = [Message(role, content) for exchange in asked.history for role, content in _said(exchange)]
    sources = "\n\n".join(
        f"[{s.number}] {' > '.join(dict.fromkeys(filter(None, [s.title or s.document, *s.heading_path])))}\n{s.text}"
        for s in asked.sources)
    return [*told, Message("user", f"Sources:\n\n{sources or '(none was found)'}\n\nQuestion: {asked.question}")]


def _said(exchange: Exchange) -> list[tuple[str, str]]:
    return [("user", exchange.question), ("assistant", exchange.answer)]
