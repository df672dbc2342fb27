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


def throughput(settings: Settings, log: Path, *, interval: float, committed: bool, loads: dict[int, int],
               ) -> dict[int, tuple[float, float, float]]:
    """Steps a second, and p50 and p95 of a step in milliseconds, by tasks in flight."""
    with own_topics(settings) as own, ExitStack() as stack:
        engine = EngineProcess(own, log, interval)
        stack.callback(engine.stop)
        clocked = Clocked()
        echo = Echo(own, waves(STEPS), committed=committed, called=clocked)
        stack.callback(echo.close)
        free = threading.Semaphore(0)
        reader = Reader(own, topics.TASK_RESULTS.named(own.prefix), lambda _: free.release())
        stack.callback(reader.close)

        def run(name: str, tasks: int, width: int) -> float:
            began = time.perf_counter()
            for n in range(tasks):
                if n >= width:
                    free.acquire()
                echo.send(requested(f"{name}-{n}"))
            for _ in range(min(width, tasks)):
                free.acquire()
            return time.perf_counter() - began

        run("warm", 64, 16)
        found = {}
        for width, tasks in loads.items():
            clocked.steps.clear()
            seconds = run(str(width), tasks, width)
            found[width] = (tasks * STEPS / seconds, percentile(clocked.steps, 50), percentile(clocked.steps, 95))
        return found


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
        engine.start()
        until(lambda: len(engine.restores()) > 1, "the engine restores")
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
    base = throughput(settings, log, interval=0.0, committed=True, loads=loads)
    ours = throughput(settings, log, interval=INTERVAL, committed=False, loads=loads)
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
