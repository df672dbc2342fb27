"""One answer from its frames: which attempt is live, what it has said, how it ended.

    waiting ──Accepted──▶ open ──Done | Failed──▶ ended
                          │  ▲
                          └──┘ Accepted of another attempt: that one is live now, what the last one said is void

The log's order is the fence. Whoever takes a question writes `Accepted` with a fresh attempt; the attempt whose
`Accepted` is last in the partition is live until *its* terminal frame. So a worker that was frozen and goes on writing
is ignored, and every reader of the partition comes to the same single end, whatever it was that wrote.

A frame counts only if its number is the next one of the live attempt. A frame that arrives twice changes nothing, and
an attempt with a missing frame stands still until another attempt replaces it: readers never see text with a hole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from schemas.events import Accepted, AnswerFrame, Citation, Cited, Delta, Done, Failed, Source, Sources


class Effect(Enum):
    """What a frame did to its answer."""

    IGNORED = "ignored"
    """It belongs to a dead attempt, was seen before or comes after the end: show nothing."""
    APPLIED = "applied"
    """It is the live attempt's next frame: show it."""
    RESET = "reset"
    """It begins an attempt that replaces another: forget what was shown, then show it."""


@dataclass(slots=True)
class Answer:
    """The state of one answer. Feed it every frame of the answer in the order of the partition.

    Someone who joins in the middle begins with `Answer.at(...)`, the state after a frame that they know.
    """

    accepted: Accepted | None = None
    """The question, from the live attempt's first frame."""
    attempt: str = ""
    """The live attempt; empty before anybody took the question."""
    next_seq: int = 0
    """Number that the live attempt's next frame must have."""
    sources: list[Source] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)
    terminal: Done | Failed | None = None
    attempts: int = 0
    """Attempts seen so far."""
    moved_at: int = 0
    """Time of the last frame that counted, in milliseconds since the epoch."""
    _text: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    @classmethod
    def at(cls, attempt: str, seq: int, text: str = "") -> Answer:
        """The state of a reader who has seen the live attempt up to frame `seq` and has `text`."""
        return cls(attempt=attempt, next_seq=seq + 1, attempts=1, _text=[text] if text else [], _seen={attempt})

    @property
    def text(self) -> str:
        """What the live attempt has said so far; the whole answer once it is done."""
        return "".join(self._text)

    @property
    def ended(self) -> bool:
        return self.terminal is not None

    def apply(self, frame: AnswerFrame) -> Effect:
        """Takes the next frame of the partition."""
        if self.ended:
            return Effect.IGNORED
        if isinstance(frame.body, Accepted):
            return self._begin(frame, frame.body)
        if frame.attempt != self.attempt or frame.seq != self.next_seq:
            return Effect.IGNORED
        self.next_seq += 1
        self.moved_at = frame.at
        match frame.body:
            case Delta(text=text):
                self._text.append(text)
            case Sources(sources=sources, notices=notices):
                self.sources, self.notices = sources, notices
            case Cited(citation=citation):
                self.citations.append(citation)
            case Done() as done:
                self._text, self.terminal = [done.text], done
                self.sources, self.citations, self.notices = done.sources, done.citations, done.notices
            case Failed() as failed:
                self.terminal = failed
        return Effect.APPLIED

    def _begin(self, frame: AnswerFrame, accepted: Accepted) -> Effect:
        if frame.seq != 0 or frame.attempt in self._seen:
            return Effect.IGNORED
        replaces = bool(self.attempt)
        self._seen.add(frame.attempt)
        self.accepted, self.attempt, self.next_seq = accepted, frame.attempt, 1
        self.attempts += 1
        self.moved_at = frame.at
        self._text, self.sources, self.notices, self.citations = [], [], [], []
        return Effect.RESET if replaces else Effect.APPLIED
