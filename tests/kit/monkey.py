"""A troublemaker with a seed, and the processes it plays with."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from weir.settings import Settings, environment


@dataclass
class Crew:
    """Processes of one module, each with a log of its own in `folder`."""

    module: str
    settings: Settings
    folder: Path
    extra: dict[str, str] = field(default_factory=dict)
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, number: int) -> None:
        child = environment(self.settings) | {"WEIR_INSTANCE": str(number), "WEIR_METRICS_PORT": "0"} | self.extra
        with self.log(number).open("ab") as log:
            self.running[number] = subprocess.Popen([sys.executable, "-m", self.module], env=child, stdout=log,
                                                    stderr=subprocess.STDOUT)

    def log(self, number: int) -> Path:
        return self.folder / f"{self.module}-{number}.log"

    def signal(self, number: int, what: signal.Signals) -> None:
        self.running[number].send_signal(what)

    def wait(self, number: int) -> int:
        return self.running.pop(number).wait(30)

    def stop(self) -> dict[int, int]:
        """Ends all of them; their exit codes."""
        for process in self.running.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        return {number: self.wait(number) for number in list(self.running)}

    def kill(self) -> None:
        """Ends all of them at once, frozen ones too."""
        for process in self.running.values():
            process.kill()
        for process in self.running.values():
            process.wait(30)
        self.running.clear()

    def tail(self) -> str:
        return "\n".join(f"--- {n}\n{self.log(n).read_text()[-1500:]}" for n in self.running)


class Monkey:
    """Kills, stops and freezes members of a crew and starts them again.

    Args:
        seed: decides everything but what the machine adds.
        freeze: shortest and longest time a member stays frozen, in seconds.
    """

    def __init__(self, crew: Crew, seed: int, freeze: tuple[float, float] = (1.0, 9.0)) -> None:
        self.crew = crew
        self.did: list[str] = []
        self._freeze = freeze
        self._random = random.Random(seed)
        self._numbers = sorted(crew.running)
        self._busy: set[int] = set()

    async def play(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        async with asyncio.TaskGroup() as group:
            while loop.time() < until:
                await asyncio.sleep(self._random.uniform(0.7, 2.0))
                number = self._random.choice(self._numbers)
                trick = self._random.choice(["kill", "kill", "stop", "freeze"])
                if number not in self._busy:
                    self._busy.add(number)
                    group.create_task(self._play(trick, number, self._random.uniform(*self._freeze)))

    async def _play(self, trick: str, number: int, seconds: float) -> None:
        self.did.append(f"{trick} {number}")
        match trick:
            case "freeze":
                self.crew.signal(number, signal.SIGSTOP)
                await asyncio.sleep(seconds)
                self.crew.signal(number, signal.SIGCONT)
            case "kill" | "stop":
                self.crew.signal(number, signal.SIGKILL if trick == "kill" else signal.SIGTERM)
                code = await asyncio.to_thread(self.crew.wait, number)
                # -15: it had not yet come so far as to listen to signals.
                assert trick == "kill" or code in (0, -signal.SIGTERM), f"member {number} ended with {code}"
                self.crew.start(number)
        self._busy.discard(number)
