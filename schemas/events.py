"""The events as Python types. Written by `python -m schemas.generate` from `avro/*.avsc`; do not edit."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A record of `agent-events`."""

    partition: int
    """Partition."""
    offset: int
    """Offset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """Steps, tokens, money and time: a budget, or what was spent of it."""

    steps: int
    """Steps."""
    tokens: int
    """Tokens read and written by the language model."""
    micros: int
    """Money, in millionths of the currency of the prices."""
    seconds: int
    """Wall time since the task was asked for, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallModel:
    """Ask the planner."""

    step: int
    """The step that it plans."""
    first: Place
    """The task's first record, which pins goal, person, planner, prompt and tools."""
    history: list[Place]
    """The records that make up the prompt, oldest first."""
    left: Amounts
    """What is left of the budget."""


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


class Risk(StrEnum):
    """What a call may do to the world: nothing, something that can be undone, something that cannot."""

    READ = "read"
    WRITE = "write"
    IRREVERSIBLE = "irreversible"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTool:
    """Run a tool."""

    workspace: str
    """Name of the workspace."""
    person: Person
    """With whose access."""
    step: int
    """Step of the task."""
    index: int
    """Place among the step's calls."""
    tool: str
    """Tool."""
    risk: Risk
    """Risk."""
    arguments: str
    """Arguments, canonical JSON."""
    schema: str
    """First 16 hexadecimal digits of the SHA-256 of the arguments' JSON schema."""
    timeout: float
    """Seconds until it is given up."""
    key: str
    """Idempotency key: SHA-256 over task, step, index, revision, tool and arguments, hexadecimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCommand:
    """Something to do for a task. Topics `agent-commands` (safe to do twice) and `agent-effects` (never)."""

    task: str
    """Id of the task."""
    command: str
    """Id of the command."""
    attempt: int
    """Attempt, from 1."""
    at: int
    """When, in milliseconds since the epoch."""
    body: CallModel | CallTool
    """What."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPolicy:
    """How a task may use a tool; pinned when the task begins."""

    name: str
    """Name of the tool."""
    risk: Risk
    """What its calls may do."""
    timeout: float
    """Seconds until a call is given up."""
    tries: int
    """Most times that a call is tried that failed and may be tried again."""
    backoff: float
    """Seconds before the second try; doubled before each further one."""
    schema: str
    """First 16 hexadecimal digits of the SHA-256 of its arguments' JSON schema: a worker refuses a call for another one."""
    approvers: str = ""
    """Group that decides about its calls; empty: the task's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """Who decides about what a task wants to do."""

    approvers: str
    """Group whose members decide."""
    expires: int
    """Seconds until a proposal expires."""
    by_owner: bool
    """Whether who asked for the task may decide about it, being in the group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequested:
    """A person asks for a task. Everything that later transitions depend on is pinned here."""

    workspace: str
    """Name of the workspace."""
    person: Person
    """Who asks; the task acts with this access, never more."""
    goal: str
    """What is to be done."""
    request: str
    """Id of the request: asking twice with it asks once."""
    planner: str
    """`rules`, or the language model."""
    prompt: str
    """Name and version of the planner's prompt."""
    tools: list[ToolPolicy]
    """The tools it may use."""
    approvals: Approvals
    """Who decides."""
    limits: Amounts
    """Its budget."""
    forked_from: str = ""
    """Task that it goes on from."""
    history: list[Place] = field(default_factory=list)
    """Of a fork: the records that it goes on from, oldest first."""


class PlanEnd(StrEnum):
    """What the planner wants next: calls, to be finished, to ask the person, or to give up."""

    CALLS = "calls"
    ANSWER = "answer"
    ASK = "ask"
    GIVE_UP = "give_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that the planner wants."""

    tool: str
    """Tool."""
    arguments: str
    """Arguments, canonical JSON."""
    reason: str = ""
    """Why, in the planner's words."""
    wave: int = 0
    """Calls of one wave run side by side; a wave begins when the one before it has succeeded."""
    invalid: str = ""
    """What is wrong with the arguments; such a call is not run, and this goes back to the planner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReplied:
    """The planner's reply."""

    command: str
    """Id of the command that it answers."""
    attempt: int
    """Attempt of the command."""
    end: PlanEnd
    """What the planner wants."""
    text: str
    """The result, the question to the person, or why it gives up; the thought behind calls."""
    calls: list[ToolCall] = field(default_factory=list)
    """The calls it wants."""
    prompt: str = ""
    """The prompt as sent, JSON; empty where there is none."""
    reply: str = ""
    """The reply as received, JSON; empty where there is none."""
    tokens_in: int = 0
    """Tokens read."""
    tokens_out: int = 0
    """Tokens written."""
    micros: int = 0
    """Cost, in millionths."""
    seconds: float = 0.0
    """How long it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFailed:
    """The planner could not reply."""

    command: str
    """Id of the command."""
    attempt: int
    """Attempt of the command."""
    code: str
    """For machines."""
    message: str
    """What happened and what to do."""
    retriable: bool
    """Whether another try may help."""
    micros: int = 0
    """Cost all the same, in millionths."""


class CallOutcome(StrEnum):
    """How a call ended. Unknown: it may have been done, and nobody can tell."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """Something a task made, kept as a blob."""

    name: str
    """File name to offer."""
    media_type: str
    """Media type."""
    blob: str
    """Name of the blob."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """The call that takes back what another did."""

    tool: str
    """Tool."""
    arguments: str
    """Arguments, JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolReturned:
    """A call of a tool has ended."""

    command: str
    """Id of the command."""
    attempt: int
    """Attempt of the command."""
    outcome: CallOutcome
    """How it ended."""
    content: str = ""
    """What it returned, for the planner to read; data, never an order."""
    error: str = ""
    """What went wrong and what to do."""
    retriable: bool = False
    """Whether another try may help."""
    artefacts: list[Artefact] = field(default_factory=list)
    """What it made."""
    undo: Undo | None = None
    """How to take it back, where that is possible."""
    micros: int = 0
    """Cost, in millionths."""
    seconds: float = 0.0
    """How long it took."""


class Choice(StrEnum):
    """What a person decides. Done, again and stop answer a call whose outcome is unknown."""

    APPROVE = "approve"
    DENY = "deny"
    DONE = "done"
    AGAIN = "again"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictGiven:
    """A person decides about a proposal."""

    approval: str
    """Id of the proposal."""
    args_hash: str
    """SHA-256 of the arguments that were shown, hexadecimal."""
    choice: Choice
    """What is decided."""
    person: Person
    """Who decides."""
    reason: str = ""
    """Why."""
    arguments: str | None = None
    """Other arguments, canonical JSON: a new proposal, to be approved in its own right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired:
    """A moment has come that the task waits for."""

    due: int
    """The moment, in milliseconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSent:
    """A person tells a running task something."""

    person: Person
    """Who."""
    text: str
    """What."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested:
    """A person stops a task."""

    person: Person
    """Who."""
    reason: str = ""
    """Why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetAdded:
    """A person adds to a task's budget."""

    person: Person
    """Who."""
    added: Amounts
    """How much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEvent:
    """Something happened to a task. Topic `agent-events`: a task's events are its transcript."""

    task: str
    """Id of the task."""
    event: str
    """Id of the event: what arrives twice counts once."""
    at: int
    """When, in milliseconds since the epoch."""
    body: TaskRequested | ModelReplied | ModelFailed | ToolReturned | VerdictGiven | TimerFired | MessageSent | CancelRequested | BudgetAdded
    """What."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentReply:
    """What the engine says to an event that came from a person. Topic `agent-replies`."""

    task: str
    """Id of the task."""
    event: str
    """Id of the event that it answers."""
    accepted: bool
    """Whether the event changed the task."""
    message: str
    """What happened and what to do."""
    at: int
    """When, in milliseconds since the epoch."""
    code: str = ""
    """For machines; empty where accepted."""


class TaskStatus(StrEnum):
    """Where a live task stands: the planner is asked; calls run; calls wait for a person; the planner's question waits for a person; the budget is used up; it is being cancelled and its calls end; a person is asked what to take back."""

    PLANNING = "planning"
    ACTING = "acting"
    DECIDING = "deciding"
    ASKING = "asking"
    PAUSED = "paused"
    STOPPING = "stopping"
    UNDOING = "undoing"


class CallStatus(StrEnum):
    """Where a call stands."""

    PLANNED = "planned"
    PROPOSED = "proposed"
    RUNNING = "running"
    BACKOFF = "backoff"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DENIED = "denied"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of the current step."""

    command: str
    """Id of its command."""
    index: int
    """Place among the step's calls."""
    wave: int
    """Its wave."""
    tool: str
    """Tool."""
    risk: Risk
    """Risk."""
    arguments: str
    """Arguments, canonical JSON."""
    reason: str
    """Why."""
    status: CallStatus
    """Where it stands."""
    invalid: str = ""
    """What is wrong with the arguments."""
    attempt: int = 0
    """The live attempt, from 1; 0 before the first."""
    approval: str = ""
    """Id of its open proposal; empty: none."""
    revision: int = 0
    """How often its arguments were replaced by a person."""
    editor: str = ""
    """Who replaced its arguments last: not to approve them."""
    due: int = 0
    """When its proposal expires or its next try begins, in milliseconds since the epoch; 0: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneEffect:
    """Something done that can be taken back."""

    command: str
    """Id of the command that did it."""
    tool: str
    """Tool that did it."""
    undo: Undo
    """How."""


class TaskOutcome(StrEnum):
    """How a task ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentState:
    """A live task. Topic `agent-state`; a tombstone ends it."""

    version: int
    """Version of the state machine that wrote it."""
    task: str
    """Id of the task."""
    request: bytes
    """Its TaskRequested, encoded as a record by itself: what was pinned."""
    status: TaskStatus
    """Where it stands."""
    step: int
    """The current step; 0 before the first."""
    limits: Amounts
    """Its budget, with what was added."""
    spent: Amounts
    """What was spent of it."""
    requested_at: int
    """When it was asked for, in milliseconds since the epoch."""
    updated_at: int
    """When its last event happened, in milliseconds since the epoch."""
    events: int
    """Events that have changed it."""
    first: Place
    """Its first record."""
    history: list[Place]
    """Its latest records that the planner reads, oldest first."""
    model_call: str = ""
    """Id of the open command to the planner; empty: none."""
    model_attempt: int = 0
    """The live attempt of it."""
    model_due: int = 0
    """When the next attempt begins, in milliseconds since the epoch; 0: it runs."""
    unread: bool = False
    """Whether a person has told it something since the planner was asked."""
    calls: list[Call] = field(default_factory=list)
    """Calls of the current step."""
    wave: int = 0
    """The current wave."""
    effects: list[DoneEffect] = field(default_factory=list)
    """What could be taken back, first done first."""
    artefacts: list[Artefact] = field(default_factory=list)
    """What it has made."""
    seen: list[str] = field(default_factory=list)
    """Ids of the latest events that came from people."""
    ending: TaskOutcome | None = None
    """How it will end, where that is settled."""
    message: str = ""
    """The result, the planner's question, or why it is paused or ending."""
    resumes: TaskStatus | None = None
    """Of a paused task: where it goes on."""
    approval: str = ""
    """Id of the open proposal about the budget; empty: none."""
    due: int = 0
    """When that proposal expires, in milliseconds since the epoch; 0: never."""
    forked_from: str = ""
    """Task that it goes on from."""


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
class PlainFilter:
    """A condition in the question's own words that narrowed what was searched."""

    said: str
    """As it stands in the question: asked again with this in `without`, it narrows nothing."""
    shown: str
    """What it was taken for; one of the notices says the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The passages that were selected."""

    sources: list[Source]
    """Passages by number."""
    notices: list[str] = field(default_factory=list)
    """What a reader should know: a store that did not answer, for example."""
    filters: list[PlainFilter] = field(default_factory=list)
    """Conditions of the question that narrowed the search."""


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
class Earlier:
    """The answer that is given again."""

    turn: str
    """Id of its turn."""
    question: str
    """Its question."""
    asked_at: int
    """When that was asked, in milliseconds since the epoch."""
    similarity: float
    """Cosine of the two questions; 1 where they are the same."""
    cost: float = 0.0
    """What the model cost then."""


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
    filters: list[PlainFilter] = field(default_factory=list)
    """Conditions of the question that narrowed the search."""
    choices: list[str] = field(default_factory=list)
    """Where the text asks back: questions that it could have meant."""
    reuse: str = ""
    """Under what it may be given again: a hash of all that it depends on besides its question and its passages; empty where it may not."""
    earlier: Earlier | None = None
    """The answer that this one repeats."""


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
class CacheCounts:
    """One cache and workspace."""

    cache: str
    """`vectors`, `retrieval` or `answers`."""
    workspace: str
    """Name of the workspace; empty for vectors, which belong to none."""
    lookups: dict[str, int]
    """Lookups by what came of them: a hit (`hit`, `exact`, `semantic`) or why not."""
    evictions: dict[str, int]
    """Entries that were thrown away, by reason."""
    saved: float = 0.0
    """Cost of the model's calls that were not made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFigures:
    """What the caches of one answers worker did in a while. Topic `cache-figures`."""

    worker: str
    """The worker."""
    since: int
    """Beginning of the while, in milliseconds since the epoch."""
    until: int
    """Its end."""
    caches: list[CacheCounts]
    """What changed."""


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


class DecisionKind(StrEnum):
    """What is to be decided: a call that cannot be undone; a call that may have been done; whether to take something back; whether a task may go on beyond its budget."""

    CALL = "call"
    UNKNOWN = "unknown"
    UNDO = "undo"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailStep:
    """A call that led to a proposal."""

    step: int
    """Step."""
    tool: str
    """Tool."""
    reason: str
    """Why."""
    status: CallStatus
    """How it went."""


class DecisionStatus(StrEnum):
    """Where a proposal stands."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A proposal and what became of it. Topic `decisions`, the approval queue."""

    approval: str
    """Id of the proposal."""
    task: str
    """Id of the task."""
    workspace: str
    """Name of the workspace."""
    kind: DecisionKind
    """What is to be decided."""
    step: int
    """Step of the task."""
    index: int
    """Place among the step's calls."""
    tool: str
    """Tool."""
    risk: Risk
    """Risk."""
    arguments: str
    """The full arguments, canonical JSON."""
    args_hash: str
    """SHA-256 of them, hexadecimal."""
    reason: str
    """Why, in the planner's words."""
    goal: str
    """What the task is to do."""
    trail: list[TrailStep]
    """The calls of this step."""
    owner: Person
    """Who asked for the task."""
    approvers: str
    """Group whose members decide."""
    by_owner: bool
    """Whether the owner may, being in the group."""
    choices: list[Choice]
    """What may be decided."""
    created_at: int
    """When, in milliseconds since the epoch."""
    expires_at: int
    """When it expires, in milliseconds since the epoch; 0: never."""
    status: DecisionStatus
    """Where it stands."""
    warning: str = ""
    """What who decides must know."""
    editor: str = ""
    """Who changed the arguments."""
    choice: Choice | None = None
    """What was decided."""
    decided_by: Person | None = None
    """Who decided."""
    decided_at: int = 0
    """When, in milliseconds since the epoch; 0: not yet."""
    why: str = ""
    """Why."""


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


class EffectStatus(StrEnum):
    """Intent: it is about to be done. The others: how it ended."""

    INTENT = "intent"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A call that writes, before it and after it. Topic `effect-log`."""

    key: str
    """Idempotency key."""
    command: AgentCommand
    """The call."""
    status: EffectStatus
    """Where it stands."""
    worker: str
    """Who does it."""
    at: int
    """When, in milliseconds since the epoch."""
    outcome: ToolReturned | None = None
    """How it ended."""
    reported: bool = False
    """Whether the task has been told."""


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
class EngineMark:
    """The engine's own record on `agent-state`, under a key that begins with `!`: its input offset of a partition, or a task that has finished a moment ago."""

    offset: int
    """Offset of `agent-events` up to which the partition's state has come; the finished task's last event."""
    at: int
    """When, in milliseconds since the epoch."""


class ErasedKind(StrEnum):
    """What was erased."""

    TASK = "task"
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """Something whose records are on the log still and must not come into a view again. Topic `erasures`."""

    kind: ErasedKind
    """What was erased."""
    name: str
    """Id of the task, or subject of the person."""
    receipt: str
    """Id of the receipt."""
    at: int
    """When, in milliseconds since the epoch; of a person, what is older."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure over the questions of a run, with its 95 % confidence interval."""

    name: str
    """Name."""
    value: float
    """Mean."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    count: int
    """Questions that it is taken over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTime:
    """How long a stage took."""

    name: str
    """Stage."""
    p50: float
    """Median, in milliseconds."""
    low: float
    """Lower end of the median's 95 % interval."""
    high: float
    """Upper end of the median's 95 % interval."""
    p95: float
    """95th percentile, in milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A figure of this run less that of the other, over the questions that both have."""

    name: str
    """Name."""
    value: float
    """Mean difference; below zero where this run is lower."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    p_worse: float
    """Probability of a difference this low where there is none."""
    count: int
    """Questions that have both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate says."""

    passed: bool
    """Whether the version may take the other's place."""
    reasons: list[str] = field(default_factory=list)
    """Why not; nothing where it passed."""
    remarks: list[str] = field(default_factory=list)
    """What else is worth knowing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far the judge agrees with people who marked answers."""

    marks: int
    """Answers that both have judged."""
    agreed: float
    """Share on which they agree."""
    kappa: float
    """Cohen's kappa."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end of its 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CitedText:
    """A stretch of a source that an answer cites."""

    document: str
    """Document."""
    text: str
    """The stretch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPassage:
    """A passage that was found."""

    document: str
    """Document."""
    expected: bool
    """Whether it holds what was expected."""
    passage: str = ""
    """Id of the passage, where its publisher cut the document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionResult:
    """How a question went in a run."""

    id: str
    """Id of the question in its set."""
    question: str
    """The question."""
    kind: str
    """Its kind."""
    groups: list[str]
    """Groups as which it was asked."""
    clearance: int
    """Clearance as which it was asked."""
    outcome: str
    """answered, not_in_sources or failed."""
    expected: list[str] = field(default_factory=list)
    """Documents and passages that were expected."""
    answers: list[str] = field(default_factory=list)
    """Answers that were expected."""
    unanswerable: bool = False
    """Whether a refusal was expected."""
    failed: str = ""
    """Why it failed."""
    answer: str = ""
    """What was answered."""
    cited: list[CitedText] = field(default_factory=list)
    """What the answer cites."""
    found: list[FoundPassage] = field(default_factory=list)
    """The best passages, best first."""
    rank: int = 0
    """Rank of the first expected passage, from 1; 0 where none was found."""
    figures: dict[str, float] = field(default_factory=dict)
    """Its own figures, by name; only those that apply."""
    timings: dict[str, float] = field(default_factory=dict)
    """Milliseconds by stage."""
    notices: list[str] = field(default_factory=list)
    """What the product said besides."""
    why: str = ""
    """The judge's reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A run of a golden set against an index version. Topic `evaluations`."""

    run: str
    """Id of the run."""
    set: str
    """Golden set."""
    set_version: int
    """Version of the set."""
    set_change: str
    """Id of the change that made that version."""
    workspace: str
    """Workspace."""
    index: str
    """Index."""
    index_version: str
    """Version of the index."""
    live: bool
    """Whether that version answered questions when the run began."""
    cut: str
    """Cutting recipe."""
    embedding: str
    """Embedding model and its revision."""
    model: str
    """Language model that answered."""
    seed: int
    """Seed of the intervals."""
    started_at: int
    """When it began, in milliseconds since the epoch."""
    ended_at: int
    """When it ended, in milliseconds since the epoch."""
    by: str
    """Subject of who ran it."""
    figures: list[Figure]
    """Figures."""
    questions: list[QuestionResult]
    """How each question went."""
    recipe: dict[str, float] = field(default_factory=dict)
    """Parameters of retrieval that differ from the defaults."""
    prompt: str = ""
    """Its prompt."""
    ruler: str = ""
    """Embedding model and revision that similarities are measured with."""
    judge: str = ""
    """Model that judged; empty where none did."""
    judge_prompt: str = ""
    """Its prompt."""
    against: str = ""
    """The run of the live version that it is compared with; empty where there is none."""
    stages: list[StageTime] = field(default_factory=list)
    """Times."""
    differences: list[Difference] = field(default_factory=list)
    """Differences from the run that it is compared with."""
    verdict: Verdict | None = None
    """What the gate says; null where nothing was compared."""
    agreement: Agreement | None = None
    """How far the judge agrees with people; null where nobody was judged."""


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
    workspace: str = ""
    """Workspace of the turn; empty in records from before this field."""
    comment: str = ""
    """In their words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenPassage:
    """What an answer should be found in: a document, one of its passages, or words in it."""

    document: str
    """Id of the document; empty for a passage whose id says enough."""
    passage: str = ""
    """Id of the passage, where its publisher cut the document; empty otherwise."""
    text: str = ""
    """Words that the passage holds; empty where the whole document counts."""
    grade: int = 1
    """How good it is: the gain of nDCG; 1 or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenQuestion:
    """A question of a golden set and what is expected of its answer."""

    id: str
    """Id within the set; it stays the same when the question is changed."""
    question: str
    """The question."""
    groups: list[str] = field(default_factory=lambda: ["everyone"])
    """Groups of the person as whom it is asked."""
    clearance: int = 0
    """Clearance of that person."""
    expected: list[GoldenPassage] = field(default_factory=list)
    """Where the answer stands; nothing where nobody has said it yet."""
    answers: list[str] = field(default_factory=list)
    """Accepted answers, the fullest first."""
    unanswerable: bool = False
    """Whether the answer must be that the sources do not hold it."""
    never: list[str] = field(default_factory=list)
    """Documents that must not be shown to that person."""
    kind: str = ""
    """A word to group questions by."""
    turn: str = ""
    """The turn that it was made from; empty where it was written or imported."""
    good: bool | None = None
    """What the person thought of that turn's answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenChange:
    """A change to a golden set, which makes its next version. Topic `golden`."""

    set: str
    """Name of the set."""
    version: int
    """Number of the version that it makes, from 1."""
    change: str
    """Id of the change."""
    workspace: str
    """Workspace that the questions are asked in."""
    by: str
    """Subject of who made it."""
    at: int
    """When, in milliseconds since the epoch."""
    parent: str = ""
    """The change that it follows; empty for the first. Of several that follow the same one, the first in the log counts."""
    put: list[GoldenQuestion] = field(default_factory=list)
    """Questions that are new, or take the place of those with the same id."""
    remove: list[str] = field(default_factory=list)
    """Ids of questions that the set has no longer."""
    reason: str = ""
    """Why, in their words."""
    erased: bool = False
    """Whether content was taken out of this record later. It had counted, so it counts before all others that follow the same change."""


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
    probe: list[float] = field(default_factory=list)
    """Vector of a fixed text, by which a model that has no revision of its own is known again; empty where it has one."""


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
    previous: str | None = None
    """Name of the version that answered before, which a rollback goes back to."""
    offsets: dict[str, int] = field(default_factory=dict)
    """End of each partition of `documents` when the live version was last checked against the one before it."""
    dropping: list[IndexVersion] = field(default_factory=list)
    """Versions that nobody works for any more and whose stores are being deleted."""
    numbered: int = 0
    """Highest number that a version was ever given: names are not used twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight:
    """What one worker has counted of one minute in one workspace: its latest record of a key counts, and the parts of a minute add up. May be a little off. Topic `insights`."""

    workspace: str
    """Name of the workspace; empty for what belongs to none."""
    minute: int
    """When the minute began, in milliseconds since the epoch."""
    part: str
    """Whose count it is: another after each start of a worker."""
    counts: dict[str, int]
    """How often, or how much, by name of the figure."""
    stages: dict[str, list[int]]
    """Answers by their milliseconds, one number for each bucket, by stage."""
    scores: list[int]
    """Answers by the score of their best passage, one number for each bucket."""
    at: int
    """When it was counted, in milliseconds since the epoch."""


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
    recipe: dict[str, float] = field(default_factory=dict)
    """Parameters of retrieval for this question."""
    without: list[str] = field(default_factory=list)
    """Conditions that stand in the question and are not to narrow it, as they were said."""
    anew: bool = False
    """Whether nothing that was found or answered before may be used again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """A finished task. Topic `task-results`."""

    task: str
    """Id of the task."""
    workspace: str
    """Name of the workspace."""
    owner: Person
    """Who asked."""
    goal: str
    """What was to be done."""
    outcome: TaskOutcome
    """How it ended."""
    text: str
    """The result, or why there is none."""
    artefacts: list[Artefact]
    """What it made."""
    steps: int
    """Steps."""
    spent: Amounts
    """What was spent."""
    limits: Amounts
    """Of what budget."""
    requested_at: int
    """When it was asked for, in milliseconds since the epoch."""
    finished_at: int
    """When it ended, in milliseconds since the epoch."""
    events: int
    """Events that changed it."""
    first: Place
    """Its first record."""
    kept: list[DoneEffect] = field(default_factory=list)
    """What was done, could be taken back and was not."""
    forked_from: str = ""
    """Task that it went on from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that workers offer. Topic `tools`, one record for each version of its arguments."""

    name: str
    """Name of the tool."""
    description: str
    """What it does, for the planner and for people."""
    schema: str
    """JSON schema of its arguments, canonical JSON."""
    schema_hash: str
    """First 16 hexadecimal digits of its SHA-256."""
    risk: Risk
    """What its calls may do."""
    timeout: float
    """Seconds until a call is given up."""
    tries: int
    """Most times that a call is tried that failed and may be tried again."""
    backoff: float
    """Seconds before the second try; doubled before each further one."""
    deduplicates: bool
    """Whether the service does a call once, however often it comes with the same idempotency key."""
    reconciles: bool
    """Whether one can find out if a call was done."""
    undoable: bool
    """Whether some of its calls can be taken back."""
    at: int
    """When it was offered, in milliseconds since the epoch."""
    approvers: str = ""
    """Group that decides about its calls; empty: the task's."""
    source: str = "built-in"
    """Who offers it: `built-in`, or the name of an MCP server."""
    offered: bool = True
    """Whether new tasks may use it."""


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
    reuse: str = ""
    """Under what it may be given again: a hash of all that it depends on besides its question and its passages; empty where it may not."""
    earlier: Earlier | None = None
    """The answer that this one repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What somebody used. Topic `usage`."""

    subject: str
    """Who."""
    workspace: str
    """Name of the workspace."""
    kind: str
    """What: answer, search, publish, plan, tool."""
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
    task: str | None = None
    """Task it belongs to."""
    step: int = 0
    """Step of the task."""
    tool: str = ""
    """Tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """When an answer may be given again to whoever asks the same with the same access."""

    kinds: list[str]
    """Kinds of questions for which it may: `weir/caches/kinds.py` has them."""
    semantic: bool = False
    """Whether also for a question in other words."""
    similarity: float = 0.85
    """Least cosine of two questions that count as one."""
    hours: int = 24
    """How old the answer may be."""


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
    recipe: dict[str, float] = field(default_factory=dict)
    """Parameters of retrieval that differ from those of the index version."""
    reuse: Reuse | None = None
    """Which answers may be given again; null for none."""


EVENTS: tuple[type, ...] = (
    AgentCommand,
    AgentEvent,
    AgentReply,
    AgentState,
    AnswerFrame,
    Audit,
    CacheFigures,
    CancelAnswer,
    ClaimCheck,
    DeadLetter,
    Decision,
    DocumentCut,
    DocumentDeleted,
    DocumentPublished,
    DocumentStatus,
    Effect,
    EmbeddingPart,
    EngineMark,
    Erasure,
    Evaluation,
    Feedback,
    GoldenChange,
    Index,
    Insight,
    QuestionAsked,
    TaskRequested,
    TaskResult,
    Tool,
    Turn,
    Usage,
    Workspace,
)
"""The records that stand on topics by themselves."""
