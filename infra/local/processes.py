"""Weir's own processes, in the order in which they start: what answers a question comes first."""

from __future__ import annotations

from dataclasses import dataclass

from weir.settings import Port, Settings


@dataclass(frozen=True)
class Process:
    name: str
    module: str
    needs: frozenset[str]
    """Servers that it waits for at its first start. Later it has to bear their absence itself."""


def process(name: str, *needs: str) -> Process:
    return Process(name, name, frozenset({"kafka", *needs}))


PROCESSES = (
    process("gateway", "elasticsearch"),
    process("streams.answers", "elasticsearch", "triton"),
    process("consumers.views", "elasticsearch"),
    process("consumers.keywords", "elasticsearch"),
    process("streams.turns"),
    process("streams.watchdog"),
    process("streams.agents"),
    process("streams.planner"),
    Process("consumers.tools", "consumers.tools.worker", frozenset({"kafka", "elasticsearch"})),
    Process("infra.local.mail", "infra.local.mail", frozenset()),
    process("streams.documents"),
    process("streams.embeddings", "triton"),
    process("consumers.vectors", "elasticsearch", "milvus"),
    process("streams.insights"),
)

KEYWORD_ANSWERS = frozenset({"kafka", "elasticsearch", "gateway", "streams.answers", "consumers.views"})
"""What has to be up for a question to be answered from keywords."""


def metrics_port(settings: Settings, name: str) -> int:
    """The port of that process's Prometheus metrics: its place in the table."""
    return settings.port(Port.METRICS) + [p.name for p in PROCESSES].index(name)
