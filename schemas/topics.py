"""Every topic: its key, what is hashed to find the partition, how it is cleaned up, what it carries, who may use it.

`weir up` creates the topics from this table, the Kafka ACLs of production are generated from it, and a test compares
it with the broker. A name with `{cut}` or `{version}` stands for one topic per cutting recipe or index version.
"""

from __future__ import annotations

from dataclasses import dataclass

DAY = 24 * 3600 * 1000
"""Milliseconds."""

COMPACT = {"cleanup.policy": "compact", "delete.retention.ms": str(30 * DAY), "segment.ms": str(DAY),
           "min.cleanable.dirty.ratio": "0.2", "max.compaction.lag.ms": str(7 * DAY)}
"""A tombstone stays 30 days; a view that was away longer must be rebuilt. What was replaced is gone within a week of
its segment's end, however little is written: without that limit nobody could say when it is."""


def keep(days: int) -> dict[str, str]:
    """Records of so many days. A segment goes as a whole once its newest record is that old, so segments are short."""
    return {"cleanup.policy": "delete", "retention.ms": str(days * DAY), "segment.ms": str(min(DAY, days * DAY // 8))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    name: str
    key: str
    """What the key is made of."""
    config: dict[str, str]
    records: tuple[str, ...]
    """Names of the records it carries, from `schemas.events`."""
    writers: tuple[str, ...]
    """Processes that may write; `publishers` are programs of users."""
    readers: tuple[str, ...]
    partition_key: str = ""
    """The part of the key that is hashed, where it is not the whole key."""
    partitions: int = 0
    """How many it is created with; 0 stands for WEIR_KAFKA_PARTITIONS."""
    transactional: bool = True
    """False where readers must never wait for an open transaction."""

    @property
    def compacted(self) -> bool:
        return self.config["cleanup.policy"] == "compact"

    def named(self, prefix: str = "", **parts: str) -> str:
        """Its name on the broker."""
        return prefix + self.name.format(**parts)


DOCUMENTS = Topic(
    name="documents", key="workspace/document", config=COMPACT, records=("DocumentPublished",),
    writers=("publishers", "gateway"), readers=("streams.documents", "consumers.views"))
CHUNKS = Topic(
    name="chunks.{cut}", key="workspace/document", config=COMPACT, records=("DocumentCut", "DocumentDeleted"),
    writers=("streams.documents",), readers=("streams.embeddings", "streams.answers", "consumers.keywords"))
EMBEDDINGS = Topic(
    name="embeddings.{version}", key="workspace/document/part", partition_key="workspace/document", config=COMPACT,
    records=("EmbeddingPart", "DocumentDeleted"), writers=("streams.embeddings",),
    readers=("streams.answers", "consumers.vectors"))
DOCUMENT_STATUS = Topic(
    name="document-status", key="workspace/document/stage", partition_key="workspace/document", config=COMPACT,
    records=("DocumentStatus",),
    writers=("streams.documents", "streams.embeddings", "consumers.vectors", "consumers.keywords"),
    readers=("consumers.views",))
INDEXES = Topic(
    name="indexes", key="index", partitions=1, config=COMPACT, records=("Index",), writers=("operators",),
    readers=("streams.documents", "streams.embeddings", "streams.answers", "consumers.vectors", "consumers.keywords",
             "consumers.tools", "gateway"))
QUESTIONS = Topic(
    name="questions", key="conversation", config=keep(7), records=("QuestionAsked", "CancelAnswer"),
    writers=("gateway",), readers=("streams.answers", "streams.watchdog"), transactional=False)
ANSWERS = Topic(
    name="answers", key="conversation", config=keep(1), records=("AnswerFrame",),
    writers=("streams.answers", "streams.watchdog"), readers=("gateway", "streams.turns", "streams.watchdog"),
    transactional=False)
TURNS = Topic(
    name="turns", key="conversation/turn", partition_key="conversation", config=COMPACT, records=("Turn",),
    writers=("streams.turns",), readers=("streams.answers", "consumers.views", "streams.insights"))
AGENT_EVENTS = Topic(
    name="agent-events", key="task", config=keep(90), records=("AgentEvent",),
    writers=("gateway", "streams.planner", "streams.agents", "consumers.tools"),
    readers=("streams.agents", "streams.planner", "consumers.views", "gateway"), transactional=False)
AGENT_STATE = Topic(
    name="agent-state", key="task", config=COMPACT, records=("AgentState", "EngineMark"), writers=("streams.agents",),
    readers=("streams.agents", "consumers.views", "gateway"))
AGENT_COMMANDS = Topic(
    name="agent-commands", key="task", config=keep(7), records=("AgentCommand",), writers=("streams.agents",),
    readers=("streams.planner", "consumers.tools"))
AGENT_EFFECTS = Topic(
    name="agent-effects", key="task", config=keep(30), records=("AgentCommand",), writers=("streams.agents",),
    readers=("consumers.tools",))
EFFECT_LOG = Topic(
    name="effect-log", key="idempotency key", partition_key="task", config=COMPACT, records=("Effect",),
    writers=("consumers.tools",), readers=("consumers.tools",))
AGENT_REPLIES = Topic(
    name="agent-replies", key="task", config=keep(1), records=("AgentReply",), writers=("streams.agents",),
    readers=("gateway",))
TOOLS = Topic(
    name="tools", key="tool/schema hash", partitions=1, config=COMPACT, records=("Tool",), writers=("consumers.tools",),
    readers=("gateway", "streams.planner", "consumers.tools"))
DECISIONS = Topic(
    name="decisions", key="approval", config=COMPACT, records=("Decision",), writers=("streams.agents",),
    readers=("gateway", "consumers.views", "approvers", "streams.insights"))
TASK_RESULTS = Topic(
    name="task-results", key="task", config=COMPACT, records=("TaskResult",), writers=("streams.agents",),
    readers=("gateway", "consumers.views", "streams.insights"))
WORKSPACES = Topic(
    name="workspaces", key="workspace", partitions=1, config=COMPACT, records=("Workspace",), writers=("gateway",),
    readers=("gateway", "streams.answers", "consumers.tools"))
GOLDEN = Topic(
    name="golden", key="set/version/change", partitions=1, config=COMPACT, records=("GoldenChange",),
    writers=("gateway", "operators"), readers=("gateway", "operators"))
EVALUATIONS = Topic(
    name="evaluations", key="run", partitions=1, config=COMPACT, records=("Evaluation",), writers=("operators",),
    readers=("consumers.views",))
USAGE = Topic(
    name="usage", key="subject", config=keep(400), records=("Usage",), writers=("streams.turns", "streams.agents"),
    readers=("consumers.views",))
CACHE_FIGURES = Topic(
    name="cache-figures", key="worker", partitions=1, config=keep(7), records=("CacheFigures",),
    writers=("streams.answers",), readers=("gateway", "streams.insights"))
FEEDBACK = Topic(
    name="feedback", key="subject", config=keep(400), records=("Feedback",), writers=("gateway",),
    readers=("consumers.views", "streams.insights"))
AUDIT = Topic(
    name="audit", key="subject", config=keep(400), records=("Audit",), writers=("gateway", "operators"),
    readers=("operators",))
INSIGHTS = Topic(
    name="insights", key="workspace/minute/part", partition_key="workspace", partitions=1,
    # Written anew every few seconds while its minute lasts; only the last record of a key says something.
    config=keep(7) | {"cleanup.policy": "compact,delete", "segment.ms": str(DAY // 24),
                      "min.cleanable.dirty.ratio": "0.2"},
    records=("Insight",), writers=("streams.insights",), readers=("gateway", "operators"), transactional=False)
ERASURES = Topic(
    name="erasures", key="kind/name", partitions=1, config=COMPACT, records=("Erasure",), writers=("operators",),
    readers=("consumers.views",))
DEAD_LETTERS = Topic(
    name="dead-letters", key="origin: group/topic/partition/offset", config=keep(30), records=("DeadLetter",),
    writers=("streams.documents", "streams.embeddings", "streams.answers", "streams.turns", "streams.watchdog",
             "streams.planner", "streams.agents", "consumers.vectors", "consumers.keywords", "consumers.views",
             "consumers.tools"),
    readers=("operators", "gateway"))
REPLAYS = Topic(
    name="replays", key="origin: group/topic/partition/offset", config=keep(7), records=("DeadLetter",),
    writers=("operators", "gateway"),
    readers=("streams.documents", "streams.embeddings", "streams.answers", "streams.turns", "streams.watchdog",
             "streams.planner", "consumers.vectors", "consumers.keywords", "consumers.views", "consumers.tools"))

TOPICS = (
    DOCUMENTS, CHUNKS, EMBEDDINGS, DOCUMENT_STATUS, INDEXES, QUESTIONS, ANSWERS, TURNS, AGENT_EVENTS, AGENT_STATE,
    AGENT_COMMANDS, AGENT_EFFECTS, EFFECT_LOG, AGENT_REPLIES, TOOLS, DECISIONS, TASK_RESULTS, WORKSPACES, GOLDEN,
    EVALUATIONS, USAGE, CACHE_FIGURES, FEEDBACK, AUDIT, INSIGHTS, ERASURES, DEAD_LETTERS, REPLAYS,
)
