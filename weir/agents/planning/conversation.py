"""A task as a conversation with a language model, in no provider's format yet.

Whatever a tool returned stands between marks that name the call, so that no text inside can end them, and is data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from schemas.events import Amounts, TaskRequested, Tool
from weir.agents.planning.plan import Situation
from weir.agents.planning.transcript import Asked, Entry, Said, Step, Tried, transcript
from weir.models.chat import Call, Function, Turn

FRESH_CHARS = 24_000
"""Characters of a result of the latest step; what is longer is cut, and says so."""
OLD_CHARS = 4_000
"""Likewise, of an earlier step."""
ASK, GIVE_UP = "ask_person", "give_up"


def conversation(situation: Situation) -> list[Turn]:
    """The turns so far; the last one is the person's, or has calls."""
    entries = transcript(situation.request, situation.events)
    last = max((i for i, entry in enumerate(entries) if isinstance(entry, Step)), default=-1)
    turns = [Turn("user", _task(situation.request))]
    for i, entry in enumerate(entries):
        turns.append(_turn(entry, FRESH_CHARS if i == last else OLD_CHARS))
    turns.append(Turn("user", _budget(situation.left)))
    return turns


def functions(tools: Sequence[Tool]) -> list[Function]:
    """The task's tools, and the two ways to stop that are not an answer."""
    own = [Function(tool.name, tool.description, orjson.loads(tool.schema)) for tool in tools]
    return [*own, Function(ASK, "Asks the person one question and waits for the answer.", _text("question")),
            Function(GIVE_UP, "Ends the task without a result.", _text("reason"))]


def _text(name: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "string"}}, "required": [name],
            "additionalProperties": False}


def _task(request: TaskRequested) -> str:
    return f"The task, from {request.person.name or request.person.subject}:\n\n{request.goal}"


def _budget(left: Amounts) -> str:
    return f"Go on. Left of the budget: {left.steps} steps, {left.tokens} tokens, {left.seconds} seconds."


def _turn(entry: Entry, most: int) -> Turn:
    if isinstance(entry, Said):
        return Turn("user", f"{entry.person} says:\n\n{entry.text}")
    if isinstance(entry, Asked):
        return Turn("assistant", entry.text or "(nothing)")
    calls = tuple(Call(f"call_{entry.number}_{call.index}", call.tool, _arguments(call), _result(call, most))
                  for call in entry.calls)
    return Turn("assistant", entry.thought, calls)


def _arguments(call: Tried) -> dict[str, Any]:
    try:
        found = orjson.loads(call.arguments)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _result(call: Tried, most: int) -> str:
    """The result of a call, in marks of its own."""
    mark = call.command[:12]
    said = {"failed": "It failed", "denied": "A person denied it", "expired": "It was not done",
            "invalid": "It was not run", "": "It was not run: an earlier call did not succeed"}
    if call.outcome != "succeeded":
        reason = _within(call.error, mark, OLD_CHARS) if call.error else ""
        return f"{said[call.outcome]}." + (f"\n{reason}" if reason else "")
    made = "".join(f"\nFile made: {a.name}, {a.media_type}, {a.size} bytes, blob {a.blob}" for a in call.artefacts)
    return _within(call.content, mark, most) + made


def _within(text: str, mark: str, most: int) -> str:
    cut = text if len(text) <= most else f"{text[:most]}\n[cut: {len(text) - most} of {len(text)} characters left out]"
    return f"<data {mark}>\n{cut.replace(mark, '')}\n</data {mark}>"
