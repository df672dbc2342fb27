"""What the engine tells Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

EVENTS = Counter("weir_agent_events", "Events the engine has applied", ["kind"])
STEPS = Counter("weir_agent_steps", "Tool calls the engine has ordered", ["risk"])
RESULTS = Counter("weir_agent_results", "Tasks that have finished", ["outcome"])
TASKS = Gauge("weir_agent_tasks", "Live tasks in memory, most of them waiting")
COMMIT_SECONDS = Histogram("weir_agent_commit_seconds", "Seconds of one commit", buckets=_SECONDS)
RESTORE_SECONDS = Histogram("weir_agent_restore_seconds", "Seconds from an assignment to the first record",
                            buckets=_SECONDS)
TIMERS = Counter("weir_agent_timers", "Timers that have fired")
