"""What is to be erased, and which records hold something of it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from schemas import codec, keys, topics
from schemas.events import (
    AgentCommand,
    AgentEvent,
    AgentState,
    AnswerFrame,
    Audit,
    CallTool,
    DeadLetter,
    Decision,
    DocumentCut,
    DocumentDeleted,
    DocumentPublished,
    Effect,
    EmbeddingPart,
    Erasure,
    TaskResult,
    Turn,
    Usage,
)
from weir.erasing.traces import Traces
from weir.errors import BadRequest
from weir.kafka.records import Record, topic_of

Kind = Literal["document", "person"]


@dataclass(frozen=True, slots=True)
class Target:
    """A document, named `workspace/document`, or a person, named by the subject of their tokens."""

    kind: Kind
    name: str

    @classmethod
    def chosen(cls, document: str | None, person: str | None) -> Target:
        """
        Raises:
            BadRequest: it is not exactly one of them, or the document is not named whole.
        """
        if (document is None) == (person is None) or not (document or person):
            raise BadRequest("say what to erase: --document WORKSPACE/DOCUMENT or --person SUBJECT")
        if document is None:
            return cls("person", person or "")
        try:
            keys.split_document_key(document)
        except ValueError as e:
            raise BadRequest(f"{e}; name the document with its workspace in front") from e
        return cls("document", document)

    @property
    def workspace(self) -> str:
        return keys.split_document_key(self.name)[0]

    @property
    def document(self) -> str:
        return keys.split_document_key(self.name)[1]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(slots=True)
class Sight:
    """Tells whether a record holds something of the target.

    Of a document that is its own records up to its deletion, and whatever else stands word for word in its text; of a
    person, what they asked, were answered and had done for them, and every record that carries their subject.
    """

    target: Target
    traces: Traces
    until: int | None = None
    """Version of the document's deletion: what is newer was published anew. None: all there is."""
    published_again: int | None = None
    """When the document was published anew, in milliseconds since the epoch: its words may stand anywhere since."""
    before: int | None = None
    """Of a person: what happened later is not looked at, in milliseconds since the epoch; None: all there is."""
    tasks: set[str] = field(default_factory=set)
    """Tasks that are erased whole."""
    answers: set[str] = field(default_factory=set)
    """Answers of the person."""

    def holds(self, record: Record) -> bool:
        event = record.event
        if event is None or isinstance(event, DocumentDeleted | Audit | Erasure):
            return False
        if isinstance(event, Effect) and emptied(event):
            return False
        if not isinstance(event, Usage) and task_of(event) in self.tasks:
            return True
        return self._of_document(record) if self.target.kind == "document" else self._of_person(event)

    def owns(self, record: Record) -> bool:
        """Whether it holds something and may go whole; a record of somebody else's task that names the person may
        not."""
        event = record.event
        others = self.target.kind == "person" and isinstance(
            event, AgentEvent | AgentState | AgentCommand | Decision | Effect | TaskResult)
        return self.holds(record) and (not others or task_of(event) in self.tasks)

    def _of_document(self, record: Record) -> bool:
        event, target = record.event, self.target
        if isinstance(event, DocumentPublished | DocumentCut | EmbeddingPart):
            version = record.offset if isinstance(event, DocumentPublished) else event.version
            if isinstance(event, DocumentPublished):
                ours = record.key == target.name
            else:
                ours = (event.workspace, event.document) == (target.workspace, target.document)
            return ours and (self.until is None or version < self.until)
        if isinstance(event, Turn) and event.workspace == target.workspace and any(
                s.document == target.document and s.text and (self.until is None or s.version < self.until)
                for s in event.sources):
            return True
        if isinstance(event, DeadLetter) and event.value and self._letter(event, record.topic):
            return True
        if self.published_again is not None and record.timestamp >= self.published_again:
            return False
        return bool(self.traces.found(record.value or b""))

    def _letter(self, letter: DeadLetter, topic: str) -> bool:
        prefix = topic.removesuffix(topics.DEAD_LETTERS.name).removesuffix(topics.REPLAYS.name)
        declared, key = topic_of(letter.topic, prefix), (letter.key or b"").decode(errors="replace")
        return declared in (topics.DOCUMENTS, topics.CHUNKS, topics.EMBEDDINGS) and (
            key == self.target.name or (declared is topics.EMBEDDINGS and key.startswith(f"{self.target.name}/")))

    def _of_person(self, event: Any) -> bool:
        if self.before is not None and happened_at(event) > self.before:
            return False
        if isinstance(event, AnswerFrame) and event.answer in self.answers:
            return True
        return names(event, self.target.name)


NOTHING = '{"erased":true}'
"""Arguments of a call whose record must stay, so that it is never done again, and says nothing any more."""


def task_of(event: Any) -> str:
    """The task that a record is about; empty where it is about none."""
    return event.command.task if isinstance(event, Effect) else getattr(event, "task", None) or ""


def emptied(effect: Effect) -> bool:
    body = effect.command.body
    return isinstance(body, CallTool) and body.arguments == NOTHING


def happened_at(event: Any) -> int:
    """When an event of a person happened, in milliseconds since the epoch; 0 where it does not say."""
    return next((at for name in ("asked_at", "requested_at", "created_at", "at") if (at := getattr(event, name, 0))), 0)


def names(event: Any, subject: str) -> bool:
    """Whether a record carries a person's subject, also in a record inside it."""
    if isinstance(event, bytes):
        if event[:2] != codec.MAGIC:
            return False
        try:
            return names(codec.decode(event), subject)
        except codec.CodecError:
            return False
    if isinstance(event, list):
        return any(names(part, subject) for part in event)
    if not is_dataclass(event):
        return False
    return any(value == subject if f.name == "subject" else names(value, subject)
               for f in fields(event) if (value := getattr(event, f.name)) is not None)
