"""What must hold after any run of the engine, whatever happened to it meanwhile."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection

from confluent_kafka import Message

from schemas import codec
from schemas.events import CallTool
from tests.kit.engines import events, read
from weir.agents.replay import replay
from weir.settings import Settings


def faults(settings: Settings, tasks: Collection[str], *, steps: int, finished: bool = True) -> list[str]:
    """Everything that is wrong about tasks of so many steps; blocks."""
    found: list[str] = []
    results = Counter(r.task for r in events(settings, "task-results"))
    if finished:
        found += [f"{task} has {results[task]} results" for task in tasks if results[task] != 1]
    began = Counter(r.task for r in events(settings, "agent-replies"))
    found += [f"{task} was answered {began[task]} times" for task in tasks if began[task] != 1]
    used = Counter((u.task, u.kind, u.step, u.tool) for u in events(settings, "usage") if u.kind == "plan")
    found += [f"usage {what} counts {number} times" for what, number in used.items() if number != 1]
    per_task = Counter(u.task for u in events(settings, "usage") if u.kind == "tool")
    if finished:
        found += [f"{task} paid for {per_task[task]} calls" for task in tasks if per_task[task] != steps]
    commands = events(settings, "agent-commands") + events(settings, "agent-effects")
    ordered = Counter((c.command, c.attempt) for c in commands)
    found += [f"command {which} was committed {number} times" for which, number in ordered.items() if number != 1]
    per_task = Counter(c.task for c in commands if isinstance(c.body, CallTool))
    if finished:
        found += [f"{task} ordered {per_task[task]} calls" for task in tasks if per_task[task] != steps]
    found += _ahead(settings) + _history(read(settings, "agent-state"))
    report = replay(settings)
    found += [str(difference) for difference in report.differences]
    if not report.snapshots:
        found.append("no snapshot was compared")
    return found


def _ahead(settings: Settings) -> list[str]:
    """What was read ahead of a commit and came again must be the same bytes."""
    seen: dict[tuple[str, int], set[bytes]] = defaultdict(set)
    for message in read(settings, "agent-commands", committed=False):
        if (value := message.value()) is None:  # what an engine has touched
            continue
        command = codec.decode(value)
        seen[command.command, command.attempt].add(value)
    return [f"command {which} came in {len(forms)} forms" for which, forms in seen.items() if len(forms) > 1]


def _history(messages: list[Message]) -> list[str]:
    """A task's committed snapshots only ever go forward, and so do the engine's own offsets."""
    at: dict[bytes, int] = {}
    found = []
    for message in messages:
        key, value = message.key() or b"", message.value()
        if value is None or key.startswith(b"!finished/"):
            at.pop(key, None)
            continue
        record = codec.decode(value)
        now = record.offset if key.startswith(b"!") else record.events
        if now <= at.get(key, -1):
            found.append(f"{key.decode()} went from {at[key]} to {now}")
        at[key] = now
    return found
