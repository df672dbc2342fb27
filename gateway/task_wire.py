"""Tasks and proposals as clients get them, over REST and over WebSocket."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gateway.wire import Message
from schemas.events import AgentEvent, AgentState, Artefact, Decision, Person
from weir.views.decisions import may_decide
from weir.views.steps import Transcript
from weir.views.tasks import Task


def shown_task(task: Task) -> dict[str, Any]:
    """A task without its steps."""
    state = task.state
    return {
        "task": task.task, "workspace": task.workspace, "owner": shown_person(task.owner), "goal": task.goal,
        "status": task.status, "live": state is not None, "step": task.step, "events": task.events, "spent": task.spent,
        "limits": task.limits, "requested_at": task.requested_at, "updated_at": task.updated_at,
        "finished_at": task.result.finished_at if task.result else None, "text": task.text,
        "artefacts": [shown_artefact(a) for a in task.artefacts], "forked_from": task.forked_from or None,
        "waits_for": _waits_for(state) if state else []}


def shown_steps(transcript: Transcript) -> dict[str, Any]:
    steps = []
    for step in transcript.steps:
        calls = [asdict(c) | {"artefacts": [shown_artefact(a) for a in c.artefacts]} for c in step.calls]
        steps.append(asdict(step) | {"calls": calls})
    return {"steps": steps, "notes": transcript.notes, "last": transcript.last, "read": transcript.read}


def shown_decision(decision: Decision, person: Person) -> dict[str, Any]:
    """A proposal; `may_decide` is for this person. Arguments are the text that the hash is of."""
    by = decision.decided_by
    return {name: getattr(decision, name) for name in (
        "approval", "task", "workspace", "kind", "step", "index", "tool", "risk", "arguments", "args_hash", "reason",
        "warning", "goal", "trail", "editor", "approvers", "by_owner", "choices", "created_at", "expires_at", "status",
        "choice", "decided_at", "why")} | {
        "owner": shown_person(decision.owner), "decided_by": shown_person(by) if by else None,
        "may_decide": decision.status == "pending" and may_decide(person, decision)}


def shown_person(person: Person) -> dict[str, str]:
    return {"subject": person.subject, "name": person.name or person.subject}


def shown_artefact(artefact: Artefact) -> dict[str, Any]:
    return {"name": artefact.name, "media_type": artefact.media_type, "size": artefact.size}


def task_message(task: Task) -> Message:
    calls = task.state.calls if task.state else []
    return {"type": "task", **shown_task(task), "calls": [
        {"index": c.index, "wave": c.wave, "tool": c.tool, "arguments": c.arguments, "reason": c.reason,
         "status": c.status, "attempt": c.attempt} for c in calls]}


def event_message(offset: int, event: AgentEvent) -> Message:
    return {"type": "event", "task": event.task, "offset": offset, "kind": type(event.body).__name__, "at": event.at}


def decision_message(decision: Decision, person: Person) -> Message:
    return {"type": "approval", **shown_decision(decision, person)}


def _waits_for(state: AgentState) -> list[str]:
    """Ids of the open proposals."""
    return [a for a in (state.approval, *(c.approval for c in state.calls)) if a]
