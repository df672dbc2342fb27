"""Steps and waiting tasks of the durable engine: `python -m bench.agents`.

A step is the way from one tool command to the next: event, engine, command, topics, a tool that answers at once. The
baseline is the same engine with a commit for each batch and readers that wait for it, in the same run on the same
broker. `--waiting 100000` measures what so many tasks that wait for a person cost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.common import finish, percentile, show, target
from bench.echo import APPROVER, Echo, Reader, calls, requested, waves
from bench.engines import EngineProcess, Waiting, own_topics, snapshot_bytes, until
from schemas import topics
from schemas.events import AgentCommand, AgentEvent, CallModel, CallOutcome, Choice, Decision, ToolCall, VerdictGiven
from weir import settings as environment
from weir import telemetry
from weir.clock import system_clock
from weir.errors import WeirError
from weir.settings import Settings

STEPS = 10
LOADS = {1: 60, 16: 600, 256: 3_000}
"""Tasks by how many are in flight."""
LIMITS = {1: 2.5, 16: 2.0, 256: 1.2}
"""Times the baseline."""
ROUNDS = 4
"""Turns that the engine and its baseline take."""
INTERVAL = 0.1
VERDICTS = 100
RESTARTED = 5_000


class Clocked:
    """When each tool command arrived: the times between two of one task are its steps."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self._last: dict[str, float] = {}

    def __call__(self, command: AgentCommand, at: float) -> None:
        if (last := self._last.get(command.task)) is not None:
            self.steps.append((at - last) * 1000)
        self._last[command.task] = at


class Closed:
    """An engine on topics of its own, with a planner, a tool and somebody who asks for the next task when one ends."""

    def __init__(self, settings: Settings, log: Path, stack: ExitStack, *, interval: float, committed: bool) -> None:
        own = stack.enter_context(own_topics(settings))
        engine = EngineProcess(own, log, interval)
        stack.callback(engine.stop)
        self._clocked = Clocked()
        self._echo = Echo(own, waves(STEPS), committed=committed, called=self._clocked)
        stack.callback(self._echo.close)
        self._free = threading.Semaphore(0)
        reader = Reader(own, topics.TASK_RESULTS.named(own.prefix), lambda _: self._free.release())
        stack.callback(reader.close)
        self._runs = 0
        self.seconds: dict[int, float] = defaultdict(float)
        self.steps: dict[int, list[float]] = defaultdict(list)
        self._run(64, 16)

    def load(self, width: int, tasks: int) -> None:
        """Runs so many tasks, `width` at a time, and adds what it took."""
        self._clocked.steps.clear()
        self.seconds[width] += self._run(tasks, width)
        self.steps[width] += self._clocked.steps

    def _run(self, tasks: int, width: int) -> float:
        self._runs += 1
        began = time.perf_counter()
        for n in range(tasks):
            if n >= width:
                self._free.acquire()
            self._echo.send(requested(f"{self._runs}-{n}"))
        for _ in range(min(width, tasks)):
            self._free.acquire()
        return time.perf_counter() - began

    def figures(self, width: int, tasks: int) -> tuple[float, float, float]:
        """Steps a second, and p50 and p95 of a step in milliseconds."""
        steps = self.steps[width]
        return tasks * STEPS / self.seconds[width], percentile(steps, 50), percentile(steps, 95)


Figures = dict[int, tuple[float, float, float]]


def throughput(settings: Settings, log: Path, loads: dict[int, int]) -> tuple[Figures, Figures]:
    """The baseline's figures and ours, by tasks in flight. They run in turns: what else the machine does hits both."""
    with ExitStack() as stack:
        base = Closed(settings, log, stack, interval=0.0, committed=True)
        ours = Closed(settings, log, stack, interval=INTERVAL, committed=False)
        for width, tasks in loads.items():
            for turn in range(ROUNDS):
                for one in (base, ours) if turn % 2 else (ours, base):
                    one.load(width, tasks // ROUNDS)
        done = {width: tasks // ROUNDS * ROUNDS for width, tasks in loads.items()}
        return ({width: base.figures(width, tasks) for width, tasks in done.items()},
                {width: ours.figures(width, tasks) for width, tasks in done.items()})


# -- people -------------------------------------------------------------------------------------------------------


def plan(command: AgentCommand, body: CallModel) -> Any:
    """Something irreversible, then something to read."""
    return calls(command, [ToolCall(tool="act", arguments=f'{{"step":{body.step}}}'),
                           ToolCall(tool="echo", arguments="{}", wave=1)])


def verdict(decision: Decision, choice: Choice) -> AgentEvent:
    return AgentEvent(task=decision.task, event=f"{choice.value}/{decision.approval}", at=system_clock(),
                      body=VerdictGiven(approval=decision.approval, args_hash=decision.args_hash, choice=choice,
                                        person=APPROVER))


class Decided:
    """A person who decides, one task after the other, and how long each then takes to go on."""

    def __init__(self, settings: Settings) -> None:
        self.arrived: dict[tuple[str, str], tuple[float, threading.Event]] = defaultdict(
            lambda: (0.0, threading.Event()))
        self.echo = Echo(settings, plan, called=self._called, outcome=self._outcome)
        self.waiting = Waiting(settings)

    def _outcome(self, command: AgentCommand) -> CallOutcome:
        return CallOutcome.UNKNOWN if getattr(command.body, "tool", "") == "act" else CallOutcome.SUCCEEDED

    def _called(self, command: AgentCommand, at: float) -> None:
        key = command.task, getattr(command.body, "tool", "")
        event = self.arrived[key][1]
        self.arrived[key] = at, event
        event.set()

    def decide(self, task: str, choice: Choice, tool: str) -> float:
        """Milliseconds from the verdict to the command that it leads to."""
        decision = self.waiting.decisions.pop(task)
        event = self.arrived[task, tool][1]
        event.clear()
        began = time.perf_counter()
        self.echo.send(verdict(decision, choice))
        if not event.wait(30):
            raise WeirError(f"task {task} did not go on within 30 s")
        return (self.arrived[task, tool][0] - began) * 1000

    def both(self, task: str) -> tuple[float, float]:
        """From the approval to the effect; from "it was done" to the next step, which only reads."""
        effect = self.decide(task, Choice.APPROVE, "act")
        until(lambda: task in self.waiting.decisions, "the unknown outcome is shown")
        # The pace of a person, not of a loop: the next verdict finds the engine at rest.
        time.sleep(0.02)
        return effect, self.decide(task, Choice.DONE, "echo")

    def close(self) -> None:
        self.echo.close()
        self.waiting.close()


def approvals(decided: Decided, number: int) -> tuple[list[float], list[float]]:
    """Milliseconds to the effect and to the next step, of so many of those that wait."""
    effects, steps = [], []
    for task in list(decided.waiting.decisions)[:number]:
        effect, step = decided.both(task)
        effects.append(effect)
        steps.append(step)
    return effects, steps


def waiting(settings: Settings, log: Path, number: int) -> dict[str, Any]:
    """So many tasks wait for a person; the engine is killed and started again, and people decide."""
    with own_topics(settings) as own, ExitStack() as stack:
        engine = EngineProcess(own, log, INTERVAL)
        stack.callback(lambda: engine.stop())
        decided = Decided(own)
        stack.callback(decided.close)
        decided.waiting.begin(decided.echo.send, 1, "warm")
        decided.both(next(iter(decided.waiting.decisions)))
        engine.kill()
        before = len(engine.restores())
        engine.start()
        until(lambda: len(engine.restores()) > before, "the engine restores")
        empty = engine.memory
        began = time.perf_counter()
        decided.waiting.begin(decided.echo.send, number, "wait")
        filled = time.perf_counter() - began
        time.sleep(2 * INTERVAL)
        engine.kill()
        began = time.perf_counter()
        engine.start()
        # Serving: what a person decides while it starts is carried out.
        decided.decide(next(iter(decided.waiting.decisions)), Choice.APPROVE, "act")
        restart = time.perf_counter() - began
        memory = engine.memory
        effects, steps = approvals(decided, VERDICTS)
        live, size = snapshot_bytes(own)
        return {"restart": restart, "memory": memory, "per_task": (memory - empty) / number, "snapshot": size,
                "live": live, "filled": filled, "effects": effects, "steps": steps,
                "restored": engine.restores()[-1]}


def show_waiting(number: int, found: dict[str, Any]) -> None:
    show(f"{number:,} tasks wait for a person", ["", "p50", "p95"], [
        ["verdict to the next step's command, ms", percentile(found["steps"], 50), percentile(found["steps"], 95)],
        ["verdict to the effect started, ms", percentile(found["effects"], 50), percentile(found["effects"], 95)]])
    show("", ["restart to serving, s", "engine, MiB", "bytes a waiting task", "bytes a snapshot"], [
        [f"{found['restart']:.2f}", found["memory"] / 2**20, found["per_task"], found["snapshot"]]])


def run(settings: Settings, number: int, loads: dict[int, int]) -> int:
    log = Path(tempfile.mkdtemp(prefix="weir-bench-")) / "engine.log"
    targets: dict[str, Any] = {}
    if number:
        found = waiting(settings, log, number)
        show_waiting(number, found)
        return finish({
            "restart_seconds": target(found["restart"], 10, at_most=True),
            "memory_mib": target(found["memory"] / 2**20, 300, at_most=True),
            "verdict_to_step_p95_ms": target(percentile(found["steps"], 95), 50, at_most=True)})
    base, ours = throughput(settings, log, loads)
    show("Ten-step tasks",
         ["in flight", "steps/s", "p50 ms", "p95 ms", "baseline steps/s", "p50 ms", "p95 ms", "ratio"],
         [[width, *ours[width], *base[width], f"{ours[width][0] / base[width][0]:.2f}"] for width in loads])
    targets |= {f"ratio_{width}": target(ours[width][0] / base[width][0], LIMITS[width], at_most=False)
                for width in loads}
    found = waiting(settings, log, RESTARTED)
    show_waiting(RESTARTED, found)
    steps, effects = found["steps"], found["effects"]
    targets |= {
        "verdict_to_step_p50_ms": target(percentile(steps, 50), 8, at_most=True),
        "verdict_to_step_p95_ms": target(percentile(steps, 95), 20, at_most=True),
        "verdict_to_effect_p50_ms": target(percentile(effects, 50), 30, at_most=True),
        "verdict_to_effect_p95_ms": target(percentile(effects, 95), 80, at_most=True)}
    return finish(targets)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.agents", description=__doc__)
    parser.add_argument("--waiting", type=int, default=0, metavar="N", help="only: N tasks that wait for a person")
    parser.add_argument("--in-flight", type=int, nargs="*", default=list(LOADS), help="loads, of 1, 16 and 256")
    arguments = parser.parse_args()
    settings = environment.load()
    telemetry.start(settings, "bench")
    try:
        sys.exit(run(settings, arguments.waiting, {width: LOADS[width] for width in arguments.in_flight}))
    except WeirError as e:
        sys.exit(f"bench.agents: {e.message}")


if __name__ == "__main__":
    main()
