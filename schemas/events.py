"""The events as Python types. Written by `python -m schemas.generate` from `avro/*.avsc`; do not edit."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who asks, with the access that was granted at that moment."""

    subject: str
    """Stable id."""
    groups: list[str]
    """Groups the person is in."""
    name: str = ""
    """Name to show."""
    clearance: int = 0
    """Clearance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A worker has taken the question: a new attempt begins."""

    question: str
    """The question."""
    workspace: str
    """Name of the workspace."""
    person: Person
    """Who asks."""
    asked_at: int
    """When it was asked, in milliseconds since the epoch."""
    follows: str | None = None
    """Turn that it follows."""
    search_only: bool = False
    """Whether only passages are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A passage that an answer may cite."""

    number: int
    """Number by which the answer cites it, from 1."""
    chunk: str
    """Id of the chunk."""
    document: str
    """Id of the document within its workspace; any text, a URL for example."""
    version: int
    """Version of the document: the offset of its event in `documents`."""
    title: str
    """Title of the document."""
    heading_path: list[str]
    """Headings above the passage."""
    text: str
    """The passage."""
    section: int
    """Ordinal of its section."""
    start: int
    """Where it starts in the section, in characters."""
    end: int
    """Where it ends in the section, in characters."""
    score: float
    """Fused score."""
    source: str = ""
    """Where a person finds the original."""
    passage: str | None = None
    """Id given by the publisher."""
    being_replaced: bool = False
    """True where a newer version of the document is on its way into the index."""
    metadata: dict[str, str | int | float | bool | date | list[str]] = field(default_factory=dict)
    """Typed values to filter by: text, whole numbers, decimals, yes/no, dates, lists of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The passages that were selected."""

    sources: list[Source]
    """Passages by number."""
    notices: list[str] = field(default_factory=list)
    """What a reader should know: a store that did not answer, for example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """The next characters of the answer."""

    text: str
    """The characters."""
    position: int
    """Where they start in the answer, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A stretch of the answer and the stretch of the source that supports it."""

    source: int
    """Number of the source."""
    start: int
    """Start in the answer's text, in characters."""
    end: int
    """End in the answer's text, in characters."""
    quote_start: int
    """Start in the source's text, in characters."""
    quote_end: int
    """End in the source's text, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cited:
    """A citation is released."""

    citation: Citation
    """The citation."""


class Outcome(StrEnum):
    """How an answer ended well."""

    ANSWERED = "answered"
    NOT_IN_SOURCES = "not_in_sources"
    SEARCHED = "searched"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The answer is complete. Carries all of it, so that a turn is a fold."""

    outcome: Outcome
    """How it ended."""
    text: str
    """The whole answer."""
    sources: list[Source]
    """Its sources."""
    citations: list[Citation]
    """Its citations."""
    model: str
    """Language model."""
    notices: list[str] = field(default_factory=list)
    """What a reader should know."""
    prompt: str = ""
    """Name and version of the prompt."""
    index: str = ""
    """Index that was asked."""
    index_version: str = ""
    """Version of the index."""
    tokens_in: int = 0
    """Tokens read by the model."""
    tokens_out: int = 0
    """Tokens written by the model."""
    cost: float = 0.0
    """Cost in the currency of the price list."""
    timings: dict[str, float] = field(default_factory=dict)
    """Milliseconds by stage."""
    explain: str | None = None
    """The path of retrieval as JSON, where it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The answer cannot be given."""

    code: str
    """Why, in one stable word."""
    message: str
    """What happened and what to do."""
    retriable: bool
    """Whether asking again later makes sense."""
    retry_after: float | None = None
    """Seconds after which it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFrame:
    """One frame of an answer's stream. Topic `answers`. The attempt whose `Accepted` is last in the partition is the live one until its terminal frame (`Done` or `Failed`)."""

    answer: str
    """Id of the answer."""
    conversation: str
    """Id of the conversation."""
    attempt: str
    """Id of the attempt."""
    seq: int
    """Number of the frame within the attempt, from 0."""
    at: int
    """When it was made, in milliseconds since the epoch."""
    body: Accepted | Sources | Delta | Cited | Done | Failed
    """What the frame says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Who did what. Topic `audit`."""

    subject: str
    """Who."""
    action: str
    """What was done."""
    target: str
    """To what."""
    at: int
    """When, in milliseconds since the epoch."""
    detail: str = ""
    """More, as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAnswer:
    """The one who asked does not want the answer any more. Topic `questions`."""

    answer: str
    """Id of the answer."""
    conversation: str
    """Id of the conversation."""
    subject: str
    """Who cancels."""
    at: int
    """When, in milliseconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimCheck:
    """Stands for a record that is too large for the log: the record itself, encoded, is a blob. Any topic."""

    blob: str
    """SHA-256 of the encoded record, and its name in the object store."""
    size: int
    """Size of the encoded record, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that could not be worked on: the original bytes, where from and why. Topic `dead-letters`."""

    topic: str
    """Topic it came from."""
    partition: int
    """Partition it came from."""
    offset: int
    """Its offset there."""
    group: str
    """Consumer group that gave it up."""
    code: str
    """Why, in one stable word."""
    reason: str
    """Why and what to do."""
    at: int
    """When it was given up, in milliseconds since the epoch."""
    key: bytes | None = None
    """Its key."""
    value: bytes | None = None
    """Its value."""
    headers: dict[str, bytes] = field(default_factory=dict)
    """Its headers."""
    attempts: int = 1
    """How often it was tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A stretch of a document under one heading."""

    ordinal: int
    """Place in the document, from 0."""
    heading_path: list[str]
    """Headings from the top down to this section."""
    text: str
    """Its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A short stretch of a chunk with a vector of its own."""

    ordinal: int
    """Place in the chunk, from 0."""
    text: str
    """Its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The unit that is found and cited."""

    ordinal: int
    """Place in the document, from 0."""
    section: int
    """Ordinal of its section."""
    text: str
    """Its text."""
    start: int
    """Where it starts in its section's text, in characters."""
    end: int
    """Where it ends in its section's text, in characters."""
    context: str = ""
    """Put in front of the text when it is embedded and indexed: title, heading path, source."""
    passage: str | None = None
    """Id given by the publisher of documents that come already cut."""
    windows: list[Window] = field(default_factory=list)
    """Its windows; empty where the chunk is one window itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentCut:
    """One version of a document, cut into sections and chunks under one recipe. Topic `chunks.<cut>`."""

    workspace: str
    """Name of the workspace."""
    document: str
    """Id of the document within its workspace; any text, a URL for example."""
    version: int
    """Version of the document: the offset of its event in `documents`."""
    cut: str
    """Name of the cutting recipe."""
    media_type: str
    """Media type of the content, such as text/markdown."""
    published_at: int
    """When the document was published, in milliseconds since the epoch."""
    sections: list[Section]
    """Sections in order."""
    chunks: list[Chunk]
    """Chunks in order."""
    title: str = ""
    """Title of the document."""
    source: str = ""
    """Where a person finds the original: an address or a path."""
    groups: list[str] = field(default_factory=lambda: ["everyone"])
    """Groups any of which may read it. `everyone` is everybody who is signed in; an empty list is nobody."""
    clearance: int = 0
    """Lowest clearance of a person who may read it."""
    metadata: dict[str, str | int | float | bool | date | list[str]] = field(default_factory=dict)
    """Typed values to filter by: text, whole numbers, decimals, yes/no, dates, lists of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentDeleted:
    """A document was deleted, or has become one that cannot be read, as of a version. Topics `chunks.<cut>` and `embeddings.<version>`."""

    workspace: str
    """Name of the workspace."""
    document: str
    """Id of the document within its workspace; any text, a URL for example."""
    version: int
    """Version of the document: the offset of its event in `documents`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentPublished:
    """A document was published or replaced. Its tombstone (a null value) deletes it. Topic `documents`."""

    workspace: str
    """Name of the workspace."""
    document: str
    """Id of the document within its workspace; any text, a URL for example."""
    content: bytes
    """The file as it is."""
    media_type: str
    """Media type of the content, such as text/markdown."""
    title: str = ""
    """Title of the document."""
    source: str = ""
    """Where a person finds the original: an address or a path."""
    groups: list[str] = field(default_factory=lambda: ["everyone"])
    """Groups any of which may read it. `everyone` is everybody who is signed in; an empty list is nobody."""
    clearance: int = 0
    """Lowest clearance of a person who may read it."""
    metadata: dict[str, str | int | float | bool | date | list[str]] = field(default_factory=dict)
    """Typed values to filter by: text, whole numbers, decimals, yes/no, dates, lists of text."""
    publisher: str = ""
    """Subject of who published it."""
    published_at: int = 0
    """When it was published, in milliseconds since the epoch."""


class Stage(StrEnum):
    """A stage of a document's way."""

    CUT = "cut"
    EMBEDDED = "embedded"
    VECTORS = "vectors"
    KEYWORDS = "keywords"


class StageState(StrEnum):
    """How the stage ended."""

    DONE = "done"
    FAILED = "failed"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentStatus:
    """How far a version of a document has come. Topic `document-status`."""

    workspace: str
    """Name of the workspace."""
    document: str
    """Id of the document within its workspace; any text, a URL for example."""
    version: int
    """Version of the document: the offset of its event in `documents`."""
    stage: Stage
    """The stage that this record is about."""
    state: StageState
    """How the stage ended."""
    at: int
    """When the stage ended, in milliseconds since the epoch."""
    index_version: str | None = None
    """Index version, where the stage belongs to one."""
    millis: float = 0.0
    """How long the stage took, in milliseconds."""
    count: int = 0
    """Chunks or rows the stage made."""
    code: str | None = None
    """Why it failed, in one stable word."""
    reason: str | None = None
    """Why it failed and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRow:
    """What one vector stands for."""

    chunk: int
    """Ordinal of the chunk."""
    window: int
    """Ordinal of the window, or -1 for the whole chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingPart:
    """Vectors of at most 64 chunks of one version of a document. Topic `embeddings.<version>`."""

    workspace: str
    """Name of the workspace."""
    document: str
    """Id of the document within its workspace; any text, a URL for example."""
    version: int
    """Version of the document: the offset of its event in `documents`."""
    index_version: str
    """Name of the index version."""
    model: str
    """Name of the embedding model."""
    revision: str
    """Revision of the model's weights and tokenizer."""
    part: int
    """Place of this part, from 0."""
    parts: int
    """How many parts this version of the document has."""
    first_row: int
    """Place of this part's first row among all rows of the document."""
    total_rows: int
    """Rows of the document in all parts."""
    total_chunks: int
    """Chunks of the document in all parts."""
    rows: list[EmbeddingRow]
    """What each vector stands for, in the vectors' order."""
    dimension: int
    """Length of each vector."""
    vectors: bytes
    """The vectors one after another, float16 little-endian, L2-normalised: rows x dimension x 2 bytes."""
    groups: list[str] = field(default_factory=lambda: ["everyone"])
    """Groups any of which may read it. `everyone` is everybody who is signed in; an empty list is nobody."""
    clearance: int = 0
    """Lowest clearance of a person who may read it."""
    metadata: dict[str, str | int | float | bool | date | list[str]] = field(default_factory=dict)
    """Typed values to filter by: text, whole numbers, decimals, yes/no, dates, lists of text."""
    published_at: int = 0
    """When the document was published, in milliseconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What somebody thinks of a turn. Topic `feedback`."""

    subject: str
    """Who."""
    turn: str
    """The turn."""
    good: bool
    """Whether it was good."""
    at: int
    """When, in milliseconds since the epoch."""
    comment: str = ""
    """In their words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A cutting recipe."""

    name: str
    """Name, part of the topic's name."""
    chunk_chars: int = 800
    """Longest chunk, in characters."""
    windows: bool = True
    """Whether chunks have windows."""
    window_chars: int = 350
    """Length of a window, in characters."""
    window_stride: int = 230
    """Step between windows, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexVersion:
    """One version of an index: all that a query needs to meet the vectors and terms it was built with."""

    name: str
    """Name of the version, unique within the installation."""
    cut: Cut
    """How documents are cut."""
    model: str
    """Embedding model."""
    revision: str
    """Revision of the model."""
    dimension: int
    """Length of a vector."""
    collection: str
    """Milvus collection."""
    keyword_index: str
    """Elasticsearch index."""
    created_at: int
    """When it was declared, in milliseconds since the epoch."""
    recipe: dict[str, float] = field(default_factory=dict)
    """Parameters of retrieval that differ from the defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index, its versions and which of them answers. Topic `indexes`."""

    index: str
    """Name of the index."""
    live: str
    """Name of the version that answers questions."""
    versions: list[IndexVersion]
    """All versions that exist."""
    changed_at: int
    """When this record was written, in milliseconds since the epoch."""
    changed_by: str
    """Subject of who wrote it."""


class FilterOp(StrEnum):
    """How to compare."""

    EQ = "eq"
    ANY = "any"
    GTE = "gte"
    LTE = "lte"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A condition on metadata that narrows what is searched."""

    field: str
    """Name of the metadata field, or `document`."""
    op: FilterOp
    """How to compare."""
    values: list[str | int | float | bool | date]
    """One value, or several for `any`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAsked:
    """Somebody asked. Topic `questions`."""

    answer: str
    """Id of the answer, made from conversation, subject and request id: asking again with the same request id asks once."""
    conversation: str
    """Id of the conversation."""
    workspace: str
    """Name of the workspace."""
    question: str
    """The question as it was typed."""
    person: Person
    """Who asks."""
    asked_at: int
    """When it was asked, in milliseconds since the epoch."""
    follows: str | None = None
    """Turn that this question follows."""
    search_only: bool = False
    """True where passages are wanted and no answer."""
    limit: int = 10
    """How many passages are wanted."""
    explain: bool = False
    """Whether the whole path of retrieval is wanted."""
    filters: list[Filter] = field(default_factory=list)
    """Conditions that all must hold."""


class TurnOutcome(StrEnum):
    """How it ended."""

    ANSWERED = "answered"
    NOT_IN_SOURCES = "not_in_sources"
    SEARCHED = "searched"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A finished turn of a conversation, folded from its frames. Topic `turns`."""

    turn: str
    """Id of the turn, the same as of its answer."""
    conversation: str
    """Id of the conversation."""
    workspace: str
    """Name of the workspace."""
    person: Person
    """Who asked."""
    question: str
    """The question."""
    outcome: TurnOutcome
    """How it ended."""
    text: str
    """The answer."""
    sources: list[Source]
    """Its sources."""
    citations: list[Citation]
    """Its citations."""
    asked_at: int
    """When it was asked, in milliseconds since the epoch."""
    finished_at: int
    """When it was finished, in milliseconds since the epoch."""
    follows: str | None = None
    """Turn that it follows."""
    code: str | None = None
    """Why it failed."""
    message: str | None = None
    """What happened and what to do, where it failed."""
    notices: list[str] = field(default_factory=list)
    """What a reader should know."""
    model: str = ""
    """Language model."""
    prompt: str = ""
    """Name and version of the prompt."""
    index: str = ""
    """Index that was asked."""
    index_version: str = ""
    """Version of the index."""
    tokens_in: int = 0
    """Tokens read by the model."""
    tokens_out: int = 0
    """Tokens written by the model."""
    cost: float = 0.0
    """Cost."""
    timings: dict[str, float] = field(default_factory=dict)
    """Milliseconds by stage."""
    attempts: int = 1
    """Attempts it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What somebody used. Topic `usage`."""

    subject: str
    """Who."""
    workspace: str
    """Name of the workspace."""
    kind: str
    """What: answer, search, publish."""
    at: int
    """When, in milliseconds since the epoch."""
    turn: str | None = None
    """Turn it belongs to."""
    model: str = ""
    """Language model."""
    tokens_in: int = 0
    """Tokens read."""
    tokens_out: int = 0
    """Tokens written."""
    cost: float = 0.0
    """Cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Settings of a workspace. Topic `workspaces`."""

    workspace: str
    """Name of the workspace."""
    changed_at: int
    """When it was changed, in milliseconds since the epoch."""
    changed_by: str
    """Who changed it."""
    title: str = ""
    """Name to show."""
    index: str = "main"
    """Index that serves it."""
    readers: list[str] = field(default_factory=lambda: ["everyone"])
    """Groups whose members may ask in it."""
    publishers: list[str] = field(default_factory=lambda: ["publishers"])
    """Groups whose members may publish into it."""


EVENTS: tuple[type, ...] = (
    AnswerFrame,
    Audit,
    CancelAnswer,
    ClaimCheck,
    DeadLetter,
    DocumentCut,
    DocumentDeleted,
    DocumentPublished,
    DocumentStatus,
    EmbeddingPart,
    Feedback,
    Index,
    QuestionAsked,
    Turn,
    Usage,
    Workspace,
)
"""The records that stand on topics by themselves."""
