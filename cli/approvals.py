"""`weir approvals`: what waits for a person, and the decision. Over the gateway's public API, as any client."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape

from cli.client import Client
from cli.task import status_text, using
from cli.terminal import AsJson, listing, show_json, when
from weir.errors import BadRequest, NotFound

approvals = typer.Typer(no_args_is_help=True, help="What tasks may not do alone, and the decisions about it.")

ApprovalId = Annotated[str, typer.Argument(help="Id of the proposal; its beginning is enough.")]
User = Annotated[str, typer.Option("--user", "-u", help="Person of the local issuer; WEIR_TOKEN goes first.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; the task and the audit keep it.")]
Hash = Annotated[str, typer.Option("--hash", help="SHA-256 of the arguments that you mean; the shown ones otherwise.")]

PERSON = "approver"
"""Who decides in the sample."""


@approvals.command("list")
def list_(
    user: User = PERSON,
    decided: Annotated[bool, typer.Option("--decided", help="What was decided instead.")] = False,
    mine: Annotated[bool, typer.Option("--mine", help="What your own tasks wait for instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what waits for your decision."""
    status = "decided" if decided else "mine" if mine else "pending"
    found = using(user, lambda client: client.call("GET", f"/v1/approvals?status={status}"))["approvals"]
    if as_json:
        show_json(found)
        return
    table = listing("proposal", "what", "task's goal", "asked by",
                    "expires in" if status == "pending" else "decided (UTC)", wrapping={"task's goal", "asked by"})
    for d in found:
        state = "" if d["status"] == "pending" else f"\n{status_text(d['status'])}"
        table.add_row(d["approval"][:8], f"{d['tool'] or d['kind']}{state}", escape(d["goal"][:60]),
                      escape(d["owner"]["name"]), _left(d) if status == "pending" else when(d["decided_at"]))
    Console(highlight=False).print(table if found else "nothing waits for you" if status == "pending" else "nothing")


@approvals.command()
def show(name: ApprovalId, user: User = PERSON, as_json: AsJson = False) -> None:
    """Show exactly what would be done, and why."""
    d = using(user, lambda client: _get(client, name))
    if as_json:
        show_json(d)
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{d['kind']}: {d['tool'] or 'the budget'}[/bold]  {d['risk']}  {status_text(d['status'])}")
    for label, text in (("goal", d["goal"]), ("why", d["reason"]), ("warning", d["warning"]),
                        ("asked by", d["owner"]["name"]), ("changed by", d["editor"]),
                        ("decides", f"somebody of {d['approvers']}"), ("expires in", _left(d)),
                        ("decided", _decided(d)), ("choices", ", ".join(d["choices"])), ("hash", d["args_hash"])):
        if text:
            console.print(f"{label:>10}  {escape(text)}")
    for step in d["trail"]:
        console.print(f"{'before':>10}  {step['tool']} {step['status']}: {escape(step['reason'])}")
    console.print(f"{'arguments':>10}  {escape(_visible(d['arguments']))}")


@approvals.command()
def approve(
    name: ApprovalId,
    user: User = PERSON,
    reason: Reason = "",
    args_hash: Hash = "",
    arguments: Annotated[Path | None, typer.Option(
        "--arguments", help="File with other arguments, JSON: a new proposal for somebody else to decide.")] = None,
) -> None:
    """Approve a proposal, or propose other arguments."""
    changed = _object(arguments) if arguments else None
    print(using(user, lambda client: _verdict(client, name, "approve", reason, args_hash, changed)))


@approvals.command()
def deny(name: ApprovalId, user: User = PERSON, reason: Reason = "", args_hash: Hash = "") -> None:
    """Deny a proposal; the task is told and goes on without it."""
    print(using(user, lambda client: _verdict(client, name, "deny", reason, args_hash)))


@approvals.command()
def decide(
    name: ApprovalId,
    choice: Annotated[str, typer.Argument(help="One of the proposal's choices: done, again, stop, approve, deny.")],
    user: User = PERSON,
    reason: Reason = "",
    args_hash: Hash = "",
) -> None:
    """Answer any proposal, such as one about an unknown outcome."""
    print(using(user, lambda client: _verdict(client, name, choice, reason, args_hash)))


async def _get(client: Client, name: str) -> dict[str, Any]:
    """The proposal whose id begins so.

    Raises:
        NotFound: none or more than one does.
    """
    if len(name) < 32:
        found = {d["approval"] for status in ("pending", "mine", "decided")
                 for d in (await client.call("GET", f"/v1/approvals?status={status}"))["approvals"]
                 if d["approval"].startswith(name)}
        if len(found) != 1:
            raise NotFound(f"{len(found) or 'none'} of the proposals that you may see begin with {name!r}")
        [name] = found
    return dict(await client.call("GET", f"/v1/approvals/{name}"))


async def _verdict(client: Client, name: str, choice: str, reason: str, args_hash: str,
                   arguments: dict[str, Any] | None = None) -> str:
    d = await _get(client, name)
    body: dict[str, Any] = {"choice": choice, "reason": reason, "args_hash": args_hash or d["args_hash"],
                            "request_id": str(uuid.uuid4())}
    if arguments is not None:
        body["arguments"] = arguments
    return str((await client.call("POST", f"/v1/approvals/{d['approval']}/verdict", json=body))["message"])


def _object(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as e:
        raise BadRequest(f"{path} holds no arguments: {e}") from e
    if not isinstance(found, dict):
        raise BadRequest(f"{path} holds no arguments: they are an object, {{...}}")
    return found


def _visible(arguments: str) -> str:
    """The arguments as they are, with what a terminal does not show, or obeys, named by its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in arguments)


def _left(d: dict[str, Any]) -> str:
    if d["status"] != "pending" or not d["expires_at"]:
        return ""
    minutes = max(0, int(d["expires_at"] / 1000 - time.time()) // 60)
    days, hours = minutes // 1440, minutes % 1440 // 60
    return f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min"


def _decided(d: dict[str, Any]) -> str:
    by = d["decided_by"]
    return f"{d['choice']} by {by['name']}, {when(d['decided_at'])}{': ' if d['why'] else ''}{d['why']}" if by else ""
