"""How far a job of the rule planner has come, read from the task's transcript."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from schemas.events import Artefact, PlanEnd, ToolCall
from weir.agents.canonical import canonical
from weir.agents.planning.plan import Plan
from weir.agents.planning.transcript import Asked, Entry, Said, Step, Tried, succeeded
from weir.agents.planning.wording import Mail, addresses

ASK_ADDRESS = "To which address shall I send it?"
BODY_CHARS = 60_000


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known so far, and the address book."""

    entries: Sequence[Entry]
    book: Mapping[str, str]

    def answer(self, question: str) -> str:
        """What the person said last to a question that begins so; empty: nothing, or it was never asked."""
        found, asked = "", False
        for entry in self.entries:
            if isinstance(entry, Asked):
                asked = entry.text.startswith(question)
            elif isinstance(entry, Said) and asked:
                found, asked = entry.text, False
        return found

    def unheard(self) -> list[str]:
        """What people said without being asked: rules cannot read it."""
        found, asked = [], False
        for entry in self.entries:
            if isinstance(entry, Said) and not asked:
                found.append(entry.text)
            asked = isinstance(entry, Asked) or (asked and isinstance(entry, Said))
        return found

    def results(self, tool: str) -> list[tuple[dict[str, Any], Tried]]:
        """The arguments and the calls of a tool that succeeded."""
        return [(orjson.loads(call.arguments), call) for call in succeeded(self.entries, tool)]

    def result(self, tool: str, arguments: Mapping[str, Any]) -> Tried | None:
        """The call with exactly these arguments, where it succeeded."""
        wanted = canonical(arguments)
        return next((call for call in succeeded(self.entries, tool) if call.arguments == wanted), None)

    def last(self, tool: str) -> Tried | None:
        """The latest call of a tool, however it ended."""
        calls = [c for e in self.entries if isinstance(e, Step) for c in e.calls if c.tool == tool]
        return calls[-1] if calls else None

    def trouble(self) -> str:
        """What went wrong in the latest step; empty: nothing."""
        steps = [entry for entry in self.entries if isinstance(entry, Step)]
        wrong = [c for c in steps[-1].calls if c.outcome != "succeeded"] if steps else []
        return "; ".join(f"{c.tool} {c.outcome or 'was not run'}" + (f": {c.error}" if c.error else "") for c in wrong)


def calls(thought: str, *wanted: tuple[str, Mapping[str, Any], str]) -> Plan:
    """A plan of calls that run side by side: tool, arguments, reason."""
    return Plan(PlanEnd.CALLS, thought, [ToolCall(tool=tool, arguments=canonical(arguments), reason=reason)
                                         for tool, arguments, reason in wanted])


def ask(question: str, more: str = "") -> Plan:
    return Plan(PlanEnd.ASK, f"{question} {more}".strip())


def give_up(text: str) -> Plan:
    return Plan(PlanEnd.GIVE_UP, text)


def done(progress: Progress, text: str) -> Plan:
    """The end, with what was said and could not be read."""
    unheard = progress.unheard()
    note = "\n\nWithout a language model I read only answers to my questions; I did not act on: " + "; ".join(
        f"“{text}”" for text in unheard) if unheard else ""
    return Plan(PlanEnd.ANSWER, text + note)


def receivers(progress: Progress, mail: Mail | None) -> list[str] | Plan:
    """Addresses of the mail that was asked for; the question to the person where they are not known."""
    if mail is None:
        return []
    found = addresses(progress.answer(ASK_ADDRESS) or mail.to, progress.book)
    return found or ask(ASK_ADDRESS, f"I know no address of “{mail.to}”.")


def delivered(progress: Progress, to: Sequence[str], subject: str, text: str, artefacts: Sequence[Artefact]) -> Plan:
    """Sends the outcome if that was asked for, and ends the job with it. A mail that was denied is not tried again."""
    if not to:
        return done(progress, text)
    last = progress.last("send_email")
    if last is None:
        attachments = [f"{artefact.blob}/{artefact.name}" for artefact in artefacts]
        return calls("I send it.", ("send_email", {
            "to": list(to), "subject": subject[:300], "body": text[:BODY_CHARS],
            **({"attachments": attachments} if attachments else {})}, "The task asks for it to be sent."))
    if last.outcome == "succeeded":
        sent = orjson.loads(last.arguments).get("to", list(to))
        return done(progress, f"{text}\n\nSent to {', '.join(sent)}.")
    why = f": {last.error}" if last.error else ""
    return done(progress, f"{text}\n\nNot sent to {', '.join(to)} ({last.outcome or 'not run'}{why}).")
