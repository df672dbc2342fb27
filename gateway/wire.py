"""What travels between the gateway and a client: an answer's frames as JSON messages, and the client's place in them.

    {"type": accepted | sources | delta | citation | done | error | reset | snapshot,
     "answer", "conversation", "cursor": "partition:offset:seq", ...fields of the frame's body}

One record of the log is at most one message, so a client's place is the place of a record, and what follows a cursor
is a function of the log alone: any gateway sends the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self, assert_never

import orjson

from schemas.events import Accepted, AnswerFrame, Cited, Delta, Done, Failed, Sources, Turn, TurnOutcome
from weir.answers.attempts import Answer, Effect
from weir.errors import BadRequest, WeirError

SUBPROTOCOL = "weir.v1"
TERMINAL = frozenset({"done", "error"})

Message = dict[str, Any]
"""A message to a client, before it is JSON."""


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """The record that a client saw last."""

    partition: int
    offset: int
    seq: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises: BadRequest: it is not partition:offset:seq."""
        try:
            partition, offset, seq = (int(part) for part in text.split(":"))
        except ValueError:
            partition = offset = seq = -1
        if min(partition, offset, seq) < 0:
            raise BadRequest(f"the cursor {text[:60]!r} is not partition:offset:seq; send the last one you received")
        return cls(partition, offset, seq)

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}:{self.seq}"


@dataclass(frozen=True, slots=True)
class Received:
    """A frame and where it stands in the log."""

    partition: int
    offset: int
    frame: AnswerFrame

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.partition, self.offset, self.frame.seq)


class View:
    """What one client has been told about one answer. Pure: records in, messages out."""

    __slots__ = ("_state",)

    def __init__(self, state: Answer | None = None) -> None:
        self._state = state or Answer()

    @property
    def ended(self) -> bool:
        return self._state.ended

    def message(self, received: Received) -> Message | None:
        """What to tell the client about the next record; None where it is nothing to it."""
        match self._state.apply(received.frame):
            case Effect.IGNORED:
                return None
            case Effect.RESET:
                return frame_message(received, kind="reset")
            case Effect.APPLIED:
                return frame_message(received)

    def snapshot(self, last: Received) -> Message:
        """All that was said so far, for a client that has to begin anew."""
        state = self._state
        return _message("snapshot", last, {
            "question": state.accepted.question if state.accepted else "", "text": state.text,
            "sources": state.sources, "citations": state.citations, "notices": state.notices,
            "attempt": state.attempt})


def frame_message(received: Received, *, kind: str | None = None) -> Message:
    match received.frame.body:
        case Accepted() as body:
            return _message(kind or "accepted", received, {
                "question": body.question, "workspace": body.workspace, "asked_at": body.asked_at,
                "follows": body.follows, "search_only": body.search_only, "attempt": received.frame.attempt})
        case Sources() as body:
            return _message("sources", received, {
                "sources": body.sources, "notices": body.notices, "filters": body.filters})
        case Delta() as body:
            return _message("delta", received, {"text": body.text, "position": body.position})
        case Cited() as body:
            return _message("citation", received, {"citation": body.citation})
        case Done() as body:
            return _message("done", received, {
                "outcome": body.outcome, "text": body.text, "sources": body.sources, "citations": body.citations,
                "notices": body.notices, "model": body.model, "prompt": body.prompt, "index": body.index,
                "index_version": body.index_version, "tokens_in": body.tokens_in, "tokens_out": body.tokens_out,
                "cost": body.cost, "timings": body.timings, "explain": json_text(body.explain),
                "filters": body.filters, "choices": body.choices, "earlier": body.earlier})
        case Failed() as body:
            return _message("error", received, {"code": body.code, "message": body.message,
                                                "retriable": body.retriable, "retry_after": body.retry_after})
        case never:
            assert_never(never)


def turn_messages(turn: Turn, partition: int) -> list[Message]:
    """A finished turn as a client receives it that could not follow it: all at once, then its end."""
    base: Message = {"answer": turn.turn, "conversation": turn.conversation, "cursor": f"{partition}:0:0"}
    whole: Message = {"text": turn.text, "sources": turn.sources, "citations": turn.citations, "notices": turn.notices}
    snapshot = {"type": "snapshot", **base, "question": turn.question, **whole, "attempt": ""}
    if turn.outcome is TurnOutcome.FAILED:
        end = {"type": "error", **base, "code": turn.code or "failed", "message": turn.message or "the answer failed",
               "retriable": True, "retry_after": None}
    else:
        end = {"type": "done", **base, "outcome": turn.outcome, **whole, "model": turn.model, "prompt": turn.prompt,
               "index": turn.index, "index_version": turn.index_version, "tokens_in": turn.tokens_in,
               "tokens_out": turn.tokens_out, "cost": turn.cost, "timings": turn.timings, "explain": None,
               "filters": [], "choices": [], "earlier": turn.earlier}
    return [snapshot, end]


def without_text(received: Received, allowed: set[str]) -> Received:
    """The record with the passages of documents that are not in `allowed` taken out of its source list."""
    body = received.frame.body
    if not isinstance(body, Sources):
        return received
    kept = [s for s in body.sources if s.document in allowed]
    return replace(received, frame=replace(received.frame, body=replace(body, sources=kept)))


def error_message(error: WeirError, **about: Any) -> Message:
    """An error about the session, or about a request that never became an answer."""
    return {"type": "error", **error_body(error), **{k: v for k, v in about.items() if v is not None}}


def error_body(error: WeirError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "retriable": error.retriable,
            "retry_after": error.retry_after}


def json_text(text: str | None) -> Any:
    """JSON that somebody else wrote, as it is."""
    return orjson.Fragment(text) if text else None


def dumps(message: Any) -> bytes:
    return orjson.dumps(message)


def _message(kind: str, received: Received, body: dict[str, Any]) -> Message:
    frame = received.frame
    return {"type": kind, "answer": frame.answer, "conversation": frame.conversation, "cursor": str(received.cursor),
            **body}
