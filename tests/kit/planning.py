"""Planners without the engine: a task by hand, whose tools return what a test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from schemas import keys
from schemas.events import (
    AgentEvent,
    Amounts,
    Artefact,
    CallModel,
    CallOutcome,
    CallTool,
    Choice,
    ModelReplied,
    Risk,
    TaskRequested,
    Tool,
    ToolPolicy,
    ToolReturned,
)
from tests.kit.agent_task import BOSS, Task, request
from weir.agents.arguments import schema_hash
from weir.agents.canonical import canonical
from weir.agents.planning.plan import Plan, Planner, Situation
from weir.agents.planning.validation import validated

Answer = Callable[[dict[str, Any]], Any]
TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}


def offered(name: str, risk: Risk = Risk.READ, required: tuple[str, ...] = (), **properties: Any) -> Tool:
    schema = canonical({"type": "object", "properties": properties, "required": list(required),
                        "additionalProperties": False})
    return Tool(name=name, description=f"The tool {name}.", schema=schema, schema_hash=schema_hash(schema), risk=risk,
                timeout=10, tries=1, backoff=1, deduplicates=False, reconciles=False, undoable=False, at=1)


TOOLS = {t.name: t for t in (
    offered("search_documents", required=("query",), query=TEXT, limit={"type": "integer", "maximum": 20}),
    offered("list_documents", query=TEXT, limit={"type": "integer", "maximum": 100}),
    offered("read_section", required=("document",), document=TEXT, section={"type": "integer"}),
    offered("extract_fields", required=("documents", "fields"), documents=TEXTS, fields=TEXTS),
    offered("make_table", required=("title", "columns", "rows"), title=TEXT, columns=TEXTS,
            rows={"type": "array", "items": TEXTS}),
    offered("send_email", Risk.IRREVERSIBLE, ("to", "subject", "body"), to=TEXTS, subject=TEXT, body=TEXT,
            attachments=TEXTS))}


def asked(goal: str, tools: Mapping[str, Tool] = TOOLS, planner: str = "rules", prompt: str = "") -> TaskRequested:
    policies = [ToolPolicy(name=t.name, risk=t.risk, timeout=t.timeout, tries=1, backoff=1.0, schema=t.schema_hash)
                for t in tools.values()]
    made = request(tools=policies)
    return TaskRequested(workspace=made.workspace, person=made.person, goal=goal, request="r", planner=planner,
                         prompt=prompt, tools=policies, approvals=made.approvals, limits=made.limits)


class Office:
    """Runs a task by its planner. `answers` give each tool's content; `sent` are the effects that were begun."""

    def __init__(self, planner: Planner, answers: Mapping[str, Answer], tools: Mapping[str, Tool] = TOOLS) -> None:
        self.task = Task(keys.task_id("w", "ann", "r"))
        self.plans: list[Plan] = []
        self.sent: list[dict[str, Any]] = []
        self._planner, self._answers, self._tools = planner, answers, tools

    def begin(self, goal: str, **more: Any) -> Office:
        self.task.do(asked(goal, self._tools, **more))
        return self

    async def run(self, *, approve: Choice | None = None, most: int = 20) -> Office:
        """Goes on until a person is needed or the task ends; `approve` is what the approver says to everything."""
        for _ in range(most):
            state = self.task.state
            if state is None:
                return self
            if state.model_call:
                await self._plan(state.limits)
            elif running := self.task.running():
                self._run(running[0].command)
            elif self.task.pending and approve is not None:
                self.task.decide(approve, person=BOSS)
            else:
                return self
        raise AssertionError(f"the task does not come to an end: {self.plans[-3:]}")

    async def _plan(self, left: Amounts) -> None:
        command = self.task.asked
        assert isinstance(command.body, CallModel)
        by_place = {place: event for event, place in self.task.log}
        events: list[AgentEvent] = [by_place[place] for place in command.body.history]
        body = self.task.log[0][0].body
        assert isinstance(body, TaskRequested)
        plan = validated(await self._planner.plan(Situation(body, events, self._tools, left)), self._tools)
        self.plans.append(plan)
        self.task.do(ModelReplied(command=command.command, attempt=command.attempt, end=plan.end, text=plan.text,
                                  calls=list(plan.calls), tokens_in=plan.tokens_in, tokens_out=plan.tokens_out,
                                  micros=plan.micros))

    def _run(self, name: str) -> None:
        command = next(c for c in self.task.running() if c.command == name)
        assert isinstance(command.body, CallTool)
        arguments = orjson.loads(command.body.arguments)
        if command.body.risk is not Risk.READ:
            self.sent.append({"tool": command.body.tool, **arguments})
        content = self._answers[command.body.tool](arguments)
        made = [Artefact(name="table.csv", media_type="text/csv", blob="a" * 64, size=10)]
        if isinstance(content, Exception):
            self.task.do(ToolReturned(command=command.command, attempt=command.attempt, outcome=CallOutcome.FAILED,
                                      error=str(content)))
            return
        self.task.do(ToolReturned(
            command=command.command, attempt=command.attempt, outcome=CallOutcome.SUCCEEDED,
            content=content if isinstance(content, str) else canonical(content),
            artefacts=made if command.body.tool == "make_table" else []))
