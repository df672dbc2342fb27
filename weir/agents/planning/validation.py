"""Arguments of planned calls against the tools' schemas: what does not fit goes back to the planner, unrun."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from schemas.events import Tool, ToolCall
from weir.agents.arguments import checked
from weir.agents.canonical import recanonical
from weir.agents.planning.plan import Plan
from weir.errors import BadRequest


def validated(plan: Plan, tools: Mapping[str, Tool]) -> Plan:
    """The plan with canonical arguments, and with what is wrong with those that do not fit.

    A call of a tool that nobody describes is left as it is: the machine and the tool's worker refuse it.
    """
    return replace(plan, calls=[_validated(call, tools.get(call.tool)) for call in plan.calls])


def _validated(call: ToolCall, tool: Tool | None) -> ToolCall:
    if tool is None or call.invalid:
        return call
    try:
        checked(tool.schema, call.arguments)
        return replace(call, arguments=recanonical(call.arguments))
    except (BadRequest, ValueError) as e:
        return replace(call, arguments="{}", invalid=str(e))
