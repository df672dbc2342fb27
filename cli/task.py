"""`weir task`: ask for a task, look at it, steer it. Over the gateway's public API, as any client."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from cli.client import Client, token_for
from cli.terminal import AsJson, listing, show_json, when
from weir import settings as settings_module
from weir.errors import BadRequest, NotFound, WeirError

task = typer.Typer(no_args_is_help=True, help="Tasks: ask for one, look at it, steer it.")

TaskId = Annotated[str, typer.Argument(help="Id of the task, as `list` prints it; its beginning is enough.")]
User = Annotated[str, typer.Option("--user", "-u", help="Person of the local issuer; WEIR_TOKEN goes first.")]
Workspace = Annotated[str, typer.Option("--workspace", "-w", help="Workspace to work in.")]

PERSON = "purchasing"
"""Who works with tasks in the sample."""
COLOURS = {"succeeded": "green", "failed": "red", "denied": "red", "cancelled": "yellow", "deciding": "yellow",
           "asking": "yellow", "paused": "yellow", "proposed": "yellow", "unknown": "yellow"}


def using(user: str, work: Callable[[Client], Coroutine[Any, Any, Any]]) -> Any:
    """Runs `work` with a client that speaks for `user`."""
    settings = settings_module.load()

    async def run() -> Any:
        async with Client(settings, token_for(settings, user)) as client:
            return await work(client)

    return asyncio.run(run())


def status_text(status: str) -> str:
    colour = COLOURS.get(status, "")
    return f"[{colour}]{status}[/{colour}]" if colour else status


async def full_id(client: Client, name: str) -> str:
    """The id of one's task that begins so.

    Raises:
        NotFound: none or more than one does.
    """
    if len(name) == 32:
        return name
    found = [t["task"] for t in (await client.call("GET", "/v1/tasks?limit=200"))["tasks"]
             if t["task"].startswith(name)]
    if len(found) != 1:
        raise NotFound(f"{len(found) or 'none'} of your latest tasks begin with {name!r}; `weir task list` shows them")
    return str(found[0])


@task.command()
def run(
    goal: Annotated[str, typer.Argument(help="What is to be done, in quotes.")],
    workspace: Workspace = "sample",
    user: User = PERSON,
    steps: Annotated[int | None, typer.Option(min=1, help="Most steps.")] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Even where this reads like a question.")] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Do not watch it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask for a task and watch it. A simple question is answered instead, and the command says why."""
    console = Console(highlight=False, stderr=as_json)

    async def begin(client: Client) -> Any:
        if not anyway:
            routed = await client.call("POST", "/v1/route", json={"text": goal})
            if routed["kind"] == "question":
                return routed
        body: dict[str, Any] = {"goal": goal, "request_id": str(uuid.uuid4())}
        if steps is not None:
            body["limits"] = {"steps": steps}
        made = await client.call("POST", f"/v1/workspaces/{quote(workspace, safe='')}/tasks", json=body)
        console.print(f"task {made['task']}" + ("" if made["begun"] else " is written down and begins when the engine "
                                                "runs"))
        return made if detach else await _watch(client, made["task"], console)

    found = using(user, begin)
    if found.get("kind") == "question":
        from cli.ask import ask

        console.print(f"This is a question, so no task was started: {escape(found['why'])}\n")
        ask(goal, workspace=workspace, user=user, follow=False, as_json=as_json)
        return
    if as_json:
        show_json(found)
    elif not detach:
        _show(console, found)


@task.command()
def show(name: TaskId, user: User = PERSON, as_json: AsJson = False) -> None:
    """Show a task: how it stands, its steps, its result."""
    found = using(user, lambda client: _get(client, name))
    if as_json:
        show_json(found)
    else:
        _show(Console(highlight=False), found)


@task.command()
def watch(name: TaskId, user: User = PERSON, as_json: AsJson = False) -> None:
    """Follow a task until it has ended."""
    console = Console(highlight=False, stderr=as_json)

    async def follow(client: Client) -> Any:
        return await _watch(client, await full_id(client, name), console)

    found = using(user, follow)
    if as_json:
        show_json(found)
    else:
        _show(console, found)


@task.command("list")
def list_(
    user: User = PERSON,
    everybody: Annotated[bool, typer.Option("--all", help="Everybody's; for administrators.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="How many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List tasks, the latest first."""
    path = f"/v1/tasks?limit={limit}" + ("&all=1" if everybody else "")
    found = using(user, lambda client: client.call("GET", path))["tasks"]
    if as_json:
        show_json(found)
        return
    table = listing("task", "goal", "status", "steps", "cost", "asked for (UTC)", wrapping={"goal"})
    for t in found:
        table.add_row(t["task"][:8], escape(t["goal"][:80]), status_text(t["status"]), str(t["spent"]["steps"]),
                      f"{t['spent']['micros'] / 1e6:g}", when(t["requested_at"]))
    Console(highlight=False).print(table if found else "no tasks")


@task.command()
def cancel(name: TaskId, reason: Annotated[str, typer.Option(help="Why.")] = "", user: User = PERSON) -> None:
    """Stop a task. What it did is listed, and can be taken back where that is possible."""
    print(_act(name, user, "cancel", {"reason": reason}))


@task.command()
def message(name: TaskId, text: Annotated[str, typer.Argument(help="What to tell it.")], user: User = PERSON) -> None:
    """Tell a running task something, or answer its question."""
    print(_act(name, user, "messages", {"text": text}))


@task.command()
def budget(
    name: TaskId,
    steps: Annotated[int, typer.Option(min=0)] = 0,
    tokens: Annotated[int, typer.Option(min=0)] = 0,
    money: Annotated[float, typer.Option(min=0, help="In the currency of the prices.")] = 0.0,
    seconds: Annotated[int, typer.Option(min=0)] = 0,
    user: User = "approver",
) -> None:
    """Add to a task's budget. For somebody who decides about it, with the task's whole id."""
    print(_act(name, user, "budget", {"steps": steps, "tokens": tokens, "micros": round(money * 1e6),
                                      "seconds": seconds}))


@task.command()
def fork(
    name: TaskId,
    step: Annotated[int, typer.Option(min=0, help="Go on after this step; 0 begins anew.")],
    goal: Annotated[str, typer.Option(help="Another goal.")] = "",
    user: User = PERSON,
) -> None:
    """Begin a new task that goes on after a step of this one."""
    async def call(client: Client) -> Any:
        path = f"/v1/tasks/{await full_id(client, name)}/fork"
        body = {"step": step, "request_id": str(uuid.uuid4())} | ({"goal": goal} if goal else {})
        return await client.call("POST", path, json=body)

    print(f"task {using(user, call)['task']}")


@task.command()
def save(
    name: TaskId,
    artefact: Annotated[str, typer.Argument(help="Name of the file that the task made.")],
    to: Annotated[Path | None, typer.Option("--to", help="Where to; by default its name, here.")] = None,
    user: User = PERSON,
) -> None:
    """Save a file that the task made."""
    async def call(client: Client) -> Any:
        return await client.data(f"/v1/tasks/{await full_id(client, name)}/artefacts/{quote(artefact, safe='')}")

    target = to or Path(Path(artefact).name)
    target.write_bytes(using(user, call))
    print(target)


async def _get(client: Client, name: str) -> dict[str, Any]:
    return dict(await client.call("GET", f"/v1/tasks/{await full_id(client, name)}"))


def _act(name: str, user: str, act: str, body: dict[str, Any]) -> str:
    async def call(client: Client) -> Any:
        path = f"/v1/tasks/{await full_id(client, name)}/{act}"
        return await client.call("POST", path, json=body | {"request_id": str(uuid.uuid4())})

    return str(using(user, call)["message"])


async def _watch(client: Client, name: str, console: Console) -> dict[str, Any]:
    """Prints what happens until the task has ended; the task as it is then."""
    told: set[tuple[Any, ...]] = set()

    def tell(key: tuple[Any, ...], text: str) -> None:
        if key not in told:
            told.add(key)
            console.print(text)

    async for frame in client.watch(name):
        if frame["type"] == "approval" and frame["status"] == "pending":
            tell(("approval", frame["approval"]), f"  waits for a decision: {frame['tool'] or frame['kind']}  "
                 f"(weir approvals show {frame['approval']})")
        if frame["type"] != "task":
            continue
        for call in frame["calls"]:
            if call["status"] not in ("planned", "proposed"):
                tell((frame["step"], call["index"], call["status"]),
                     f"  step {frame['step']}  {call['tool']}: {status_text(call['status'])}  {escape(call['reason'])}")
        if frame["status"] in ("asking", "paused"):
            tell((frame["status"], frame["text"]), f"  {status_text(frame['status'])}: {escape(frame['text'])}")
        if not frame["live"]:
            break
    return await _settled(client, name)


async def _settled(client: Client, name: str) -> dict[str, Any]:
    """The finished task once its last step has arrived in the view."""
    for _ in range(20):
        found = await _get(client, name)
        if found["steps"] and (found["status"] != "succeeded" or found["steps"][-1]["end"] == "answer"):
            return found
        await asyncio.sleep(0.2)
    return found


def _show(console: Console, t: dict[str, Any]) -> None:
    spent, limits = t["spent"], t["limits"]
    tree = Tree(f"[bold]{escape(t['goal'])}[/bold]\n{t['task']}  {status_text(t['status'])}  {spent['steps']} of "
                f"{limits['steps']} steps, {spent['tokens']:,} tokens, {spent['micros'] / 1e6:g} spent")
    for step in t["steps"]:
        branch = tree.add(f"step {step['step']}  {escape(step['text']) if step['end'] != 'answer' else 'the result'}")
        for c in step["calls"]:
            line = (f"{c['tool']}  {status_text(c['status'])}  {escape(c['reason'])}\n"
                    f"[dim]{escape(c['arguments'][:500])}[/dim]")
            said = c["error"] or c["invalid"] or c["content"]
            branch.add(line + (f"\n{escape(said[:500])}" if said else ""))
    console.print(tree)
    for p in t["proposals"]:
        console.print(f"waits for a decision: weir approvals show {p['approval']}")
    if t["text"]:
        console.print(f"\n{escape(t['text'])}")
    for a in t["artefacts"]:
        console.print(f"  file: {escape(a['name'])} ({a['media_type']}, {a['size']:,} bytes); weir task save "
                      f"{t['task'][:8]} '{escape(a['name'])}'")


@task.command()
def replay(
    name: Annotated[str | None, typer.Argument(help="Id of the task.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every task that the log holds.")] = False,
    as_json: AsJson = False,
) -> None:
    """Prove that the log reproduces the recorded states. For operators: reads Kafka."""
    if bool(name) == everything:
        raise BadRequest("name the task to replay, or say --all")
    from weir.agents.replay import replay as replayed

    report = replayed(settings_module.load(), [name] if name else None)
    if as_json:
        show_json(asdict(report))
    else:
        print(f"{report.tasks} tasks, {report.live} of them live; {report.events} events lead to {report.snapshots} "
              f"recorded states, {report.beyond} cannot be compared any more, {report.poison} records were no events")
        for difference in report.differences:
            print(f"{difference.task} (partition {difference.partition}, {difference.events} events): "
                  f"{difference.message}")
    if report.differences:
        raise WeirError(f"the log does not reproduce {len(report.differences)} recorded states")
    if name and not report.tasks:
        raise NotFound(f"no state of a task {name!r} is on the log any more: give the whole id of one that lives")
