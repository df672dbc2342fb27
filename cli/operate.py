"""`weir up` and `weir down`: the servers, Weir's processes and the sample library on this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from infra.local import logs, machine, orphans, state
from infra.local.processes import KEYWORD_ANSWERS, PROCESSES
from infra.local.server import Place, Server
from infra.local.servers import servers
from infra.local.state import Phase, State
from infra.local.supervisor import ROOT, SERVERS_ONLY
from weir import settings as settings_module
from weir.errors import Conflict, SettingsError, Unavailable
from weir.identity import access_code
from weir.settings import Settings, environment

STARTS_WITHIN = 180.0
"""Seconds that everything has to be ready within; Milvus can need 60 on an old folder."""
STOPS_WITHIN = 90.0
GIVE_UP = 5
"""Restarts of one unit, while `weir up` watches, that make it a failure."""
SAMPLE = ROOT / "sample" / "library.json"

LABELS = {
    "kafka": "Kafka",
    "elasticsearch": "Elasticsearch",
    "milvus": "Milvus",
    "triton": "Triton and the embedder",
}


def up(
    sample: Annotated[bool, typer.Option(help="Publish the sample library the first time.")] = True,
) -> None:
    """Start the servers and Weir, and publish the sample library. Running it twice is harmless."""
    settings = absolute(settings_module.load())
    out = Console(highlight=False, soft_wrap=True)
    if state.running(settings.home) is None:
        place = Place(settings, check(settings))
        install(servers(place), out)
        start(settings)
    people(settings)
    wait(settings, out)
    if sample:
        publish_sample(settings, out)
        golden_sample(settings)
    tell(settings, out)


def down() -> None:
    """Stop Weir and its servers. What they hold stays in the home and is there at the next start."""
    settings = absolute(settings_module.load())
    out = Console(highlight=False, soft_wrap=True)
    with out.status("stopping Weir's processes, then the servers"):
        stopped = stop(settings, out.print)
    out.print("Weir is stopped." if stopped else "Weir is not running.")


def stop(settings: Settings, say: Callable[[str], None]) -> bool:
    """Ends everything of that home; returns whether there was anything.

    Raises:
        Conflict: the supervisor does not end.
    """
    pid = state.running(settings.home)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        if not until(lambda: state.running(settings.home) is None, STOPS_WITHIN):
            raise Conflict(f"the supervisor (process {pid}) has not ended; see `weir logs supervisor`.")
    # A supervisor that was killed can no longer stop what it started.
    left = orphans.end(orphans.mark(settings.home), settings.drain_timeout, say)
    return pid is not None or left > 0


def absolute(settings: Settings) -> Settings:
    """The same with absolute folders, for processes that run elsewhere."""
    return settings.model_copy(
        update={"home": settings.home.absolute(), "servers_dir": settings.servers_dir.absolute()}
    )


def check(settings: Settings) -> Path:
    """The JDK to use.

    Raises:
        SettingsError: something on this machine is in the way; all of it is told at once.
    """
    # The settings are what counts, wherever they came from.
    plan = machine.Plan.read(environment(settings), ROOT)
    ours = frozenset(orphans.find(orphans.mark(settings.home)))
    found = machine.problems(plan, os.environ)
    found += machine.port_problems(plan, len(PROCESSES), ours)
    if not ours:
        found += machine.memory_problems(plan, machine.free_memory())
    jdk = machine.find_jdk(os.environ)
    if found or isinstance(jdk, str):
        raise SettingsError("Weir cannot start here yet. Nothing was started.\n" + "\n".join(f"  - {p}" for p in found))
    return jdk


def install(wanted: list[Server], out: Console) -> None:
    """Installs the servers, all at once, with a line of progress each.

    Raises:
        Unavailable: one could not be installed; the others are finished first.
    """
    columns = (SpinnerColumn(finished_text="[green]✓[/green]"), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=out) as progress, ThreadPoolExecutor(len(wanted)) as pool:
        running = {}
        for server in wanted:
            task = progress.add_task(f"install {LABELS[server.name]}", total=1)
            running[pool.submit(server.install)] = task
        for future, task in running.items():
            future.add_done_callback(
                lambda f, task=task: None if f.exception() else progress.update(task, completed=1)  # type: ignore[misc]
            )
        for future in running:
            future.result()


def start(settings: Settings, *, servers_only: bool = False) -> None:
    """Starts the supervisor, detached from this terminal.

    Raises:
        Unavailable: it ended at once.
    """
    folder = settings.home / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "supervisor.log").open("ab") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "infra.local.supervisor", *([SERVERS_ONLY] if servers_only else [])],
            cwd=ROOT,
            env=environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def told() -> bool:
        known = state.read(settings.home)
        return daemon.poll() is not None or (known is not None and known.pid == daemon.pid)

    if not until(told, 30.0) or daemon.poll() is not None:
        raise Unavailable("the supervisor did not start:\n" + "\n".join(logs.tail(folder / "supervisor.log", 10)))
    # It outlives whoever started it; Popen would warn that nobody waited for it.
    daemon.returncode = 0


def wait(settings: Settings, out: Console) -> None:
    """Waits until everything is ready, and says when keyword answers work already.

    Raises:
        Unavailable: something was not ready in time; the message shows the end of its log.
    """
    began = time.monotonic()
    columns = (SpinnerColumn(finished_text="[green]✓[/green]"), TextColumn("{task.description}"), TimeElapsedColumn())
    known = read(settings)
    with Progress(*columns, console=out) as progress:
        tasks = {unit.name: progress.add_task(f"start {unit.name}", total=1) for unit in known.units}
        before = {unit.name: unit.restarts for unit in known.units}
        told = known.ready(frozenset(tasks))
        while True:
            known = read(settings)
            for unit in known.units:
                done = unit.phase is Phase.READY
                note = "" if done else f" ({unit.phase})"
                progress.update(tasks[unit.name], description=f"start {unit.name}{note}", completed=int(done))
            if not told and known.ready(KEYWORD_ANSWERS):
                told = True
                out.print(
                    f"[bold]{settings.gateway_url}[/bold] answers from keywords now; "
                    "answers from meaning follow as soon as Milvus is ready."
                )
            if known.ready(frozenset(tasks)):
                return
            if time.monotonic() - began > STARTS_WITHIN or hopeless(known, before):
                raise late(settings, known)
            time.sleep(0.2)


def hopeless(known: State, before: dict[str, int]) -> bool:
    """Whether something has been started again and again while we watched, and never became ready."""
    return any(unit.restarts - before[unit.name] >= GIVE_UP and unit.phase is not Phase.READY for unit in known.units)


def read(settings: Settings) -> State:
    known = state.read(settings.home)
    if known is None or state.running(settings.home) is None:
        raise Unavailable("the supervisor has ended; see `weir logs supervisor`.")
    return known


def late(settings: Settings, known: State) -> Unavailable:
    lines = []
    for unit in known.units:
        if unit.phase is not Phase.READY:
            lines.append(f"{unit.name} is {unit.phase}{': it ' + unit.last_exit if unit.last_exit else ''}")
            lines += [f"    {line}" for line in logs.tail(settings.home / "logs" / f"{unit.name}.log", 5)]
    if known.setup != "done":
        lines.append(f"setup: {known.setup}")
    return Unavailable("not everything has started; the supervisor goes on trying:\n" + "\n".join(lines))


def people(settings: Settings) -> None:
    """Lets the people of the sample sign in, where nobody may yet."""
    there = settings.home / "people.json"
    if settings.issuer == "local" and not there.exists():
        shutil.copy(SAMPLE.with_name("people.json"), there)


def publish_sample(settings: Settings, out: Console) -> None:
    """Publishes the sample library, unless that was done in this home before."""
    from cli.ingest import library

    done = settings.home / "run" / "sample-published"
    if done.exists() or not SAMPLE.exists():
        return
    out.print("Publishing the sample library")
    if library(settings, SAMPLE) == 0:
        done.touch()


def golden_sample(settings: Settings) -> None:
    """Makes the sample library's golden set, once; what people made of it since then is left alone."""
    from cli.golden import import_file

    done, path = settings.home / "run" / "sample-golden", SAMPLE.with_name("golden.csv")
    if done.exists() or not path.exists():
        return
    asyncio.run(import_file(settings, path, "sample", "sample", "weir up", once=True, reason="the sample library's"))
    done.touch()


def tell(settings: Settings, out: Console) -> None:
    """The address and three things to try."""
    code = f"reader[/bold] with the access code [bold]{access_code(settings)}" if settings.issuer == "local" else "you"
    out.print(
        f"\nWeir is at [bold]{settings.gateway_url}[/bold]; sign in as [bold]{code}[/bold].\n\n"
        "Three things to try:\n"
        '  .venv/bin/weir ask "What is the notice period of the agreement with Thornlea Enclosures?"\n'
        '  .venv/bin/weir search "CLOCK_SKEW" --explain\n'
        '  .venv/bin/weir task run "Compare the three supplier contracts on price, term, notice and liability in a '
        'table and email it to purchasing"\n'
        f"  (it asks before it sends: {settings.gateway_url}/approvals, as [bold]approver[/bold])\n\n"
        "`.venv/bin/weir status` shows what runs, `make stop` ends it."
    )


def until(condition: Callable[[], bool], timeout: float) -> bool:
    """Whether the condition held within so many seconds."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()
